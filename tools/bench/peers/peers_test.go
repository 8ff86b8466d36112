package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain is also the process of a member: the program that is tested starts itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "member" {
		os.Exit(run(os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// Everything once: real members, real hosts, every cell. It needs what make build makes.
func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	page, samples := filepath.Join(dir, "page.md"), filepath.Join(dir, "samples.json")
	require.NoError(t, os.WriteFile(page, []byte("before\n"+beginMarker+"old\n"+endMarker+"after\n"), 0o600))
	var out, errOut bytes.Buffer
	code := run([]string{
		"bench-peers", "--bin", filepath.Join("..", "..", "..", "bin"), "--dir", dir, "--callers", "32", "--batch", "4", "--groups", "2",
		"--rounds", "1", "--time", "200ms", "--json", samples, "--update", page,
	}, &out, &errOut)
	require.Equal(t, 0, code, errOut.String())

	raw, err := os.ReadFile(samples)
	require.NoError(t, err)
	var r report
	require.NoError(t, json.Unmarshal(raw, &r))
	require.NotEmpty(t, r.Medians)
	require.Positive(t, r.Sync)
	for _, s := range r.Medians {
		require.Zero(t, s.Failed, "%s %s %s: %s", s.System, s.Op, s.How, s.Error)
		require.Positive(t, s.PerSec)
		require.GreaterOrEqual(t, s.P99, s.P50)
		require.Equal(t, 32, s.Callers)
	}
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, "before\n"+beginMarker+out.String()+endMarker+"after\n", string(text))
	left, err := filepath.Glob(filepath.Join(dir, "drumline-peers-*"))
	require.NoError(t, err)
	require.Empty(t, left, "data stayed behind")
}

func TestUsageErrors(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(page, []byte(beginMarker), 0o600))
	for _, args := range [][]string{
		{"extra"},
		{"--callers", "0"},
		{"--groups", "x"},
		{"--batch", "0"},
		{"--groups", "1000000"},
		{"--time", "0s"},
		{"--update", page},
		{"--update", filepath.Join(filepath.Dir(page), "none.md")},
		{"member", "too", "few"},
	} {
		var out, errOut bytes.Buffer
		require.Equal(t, 2, run(append([]string{"bench-peers"}, args...), &out, &errOut), "%v: %s", args, errOut.String())
	}
}

func TestBetween(t *testing.T) {
	got, err := between("a\n"+beginMarker+"x\ny\n"+endMarker+"b", "z\n")
	require.NoError(t, err)
	require.Equal(t, "a\n"+beginMarker+"z\n"+endMarker+"b", got)
	for _, page := range []string{"", beginMarker, endMarker + beginMarker} {
		_, err := between(page, "z\n")
		require.Error(t, err, page)
	}
}

func TestPickSpreadsKeysAndGroups(t *testing.T) {
	set := newKeys()
	for _, groups := range []int{1, 7, 16} {
		seen := map[int]int{}
		for worker := range 5 {
			for turn := range 100 {
				group, key := set.pickOne(worker, turn, groups)
				require.Less(t, key, len(set.names))
				require.Equal(t, group, key%groups, "a key has one group")
				seen[group]++
				at, list := set.pick(worker, turn, groups, 3)
				require.Equal(t, group, at)
				for _, key := range list {
					require.Less(t, key, len(set.names))
					require.Equal(t, group, key%groups)
				}
			}
		}
		require.Len(t, seen, groups)
	}
}

func TestMeasureCountsOperationsAndFailures(t *testing.T) {
	odd := errors.New("odd worker")
	c := &cell{Op: "put", System: "drumline", Batch: 4, call: func(_ context.Context, worker, _ int) error {
		<-time.After(time.Millisecond)
		if worker%2 == 1 {
			return odd
		}
		return nil
	}}
	s := c.measure(t.Context(), 16, 50*time.Millisecond)
	require.Equal(t, 16, s.Callers)
	require.Positive(t, s.PerSec)
	require.GreaterOrEqual(t, s.P50, 1.0)
	require.Positive(t, s.Failed)
	require.Zero(t, s.Failed%4)
	require.Equal(t, odd.Error(), s.Error)
}

func TestMedian(t *testing.T) {
	m := median([]sample{{PerSec: 1, P99: 9, Failed: 1}, {PerSec: 100, P99: 5}, {PerSec: 3, P99: 7, Failed: 2, Error: "x"}})
	require.InDelta(t, 3, m.PerSec, 0)
	require.InDelta(t, 7, m.P99, 0)
	require.Equal(t, 3, m.Failed)
	require.Equal(t, "x", m.Error)
}

func TestRowsStandBesideEtcd(t *testing.T) {
	r := report{Etcd: "3", Medians: []sample{
		{Op: "put", System: "etcd", How: "clientv3", Batch: 1, Callers: 8, PerSec: 100, P99: 4},
		{Op: "propose", System: "drumline", How: "batched", Groups: 1, Batch: 4, Callers: 8, PerSec: 250, P99: 1, Failed: 3, Error: "why"},
	}}
	var b bytes.Buffer
	require.NoError(t, r.print(&b))
	require.Contains(t, b.String(), "| propose | drumline | batched by 4 | 1 | 8 | 250 | 2.50 | 0.00 | 1.00 | 0.25 | 0.0 | 0.0 | 3 failed, last: why\n")
}

// What ended the waiting is told before what was tried last: a member that died, not the
// connections that it refuses.
func TestWaitingSaysWhyItEnded(t *testing.T) {
	ctx, end := context.WithCancelCause(t.Context())
	died := errors.New("member-1 has ended")
	tries := 0
	err := until(ctx, func() error {
		if tries++; tries == 2 {
			end(died)
		}
		return errors.New("connection refused")
	})
	require.ErrorIs(t, err, died)
	require.ErrorContains(t, err, "connection refused")
}
