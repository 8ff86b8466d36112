//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/apps"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/localfleet"
)

// resources is a configuration of app capacity whose resources have so much.
func resources(capacity int) []byte {
	return fmt.Appendf(nil, `resources:
- identifier_glob: team/*
  capacity: 7
  algorithm: {kind: STATIC, lease_length: 60, refresh_interval: 15}
- identifier_glob: "*"
  capacity: %d
  algorithm: {kind: FAIR_SHARE, lease_length: 60, refresh_interval: 15}
`, capacity)
}

// applyResources puts such a configuration in force and returns its revision.
func (w *world) applyResources(capacity int) uint64 {
	w.Helper()
	file, err := apps.Capacity("config.yml", resources(capacity))
	w.must(err)
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	change, err := w.client.Drummer().ApplyConfiguration(ctx, &drummerpb.ApplyConfigurationRequest{Configuration: file.Configuration})
	w.must(err)
	return change.GetRevision()
}

// definition uses a resource's name, and reads what it has. A command that says nothing is a
// use as well; a read would be none.
func (w *world) definition(name string, patience time.Duration) (*capacitypb.Summary, error) {
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	nothing, err := proto.Marshal(&capacitypb.Command{Op: &capacitypb.Command_Confirm{Confirm: &capacitypb.Confirm{}}})
	if err != nil {
		return nil, err
	}
	if _, err = w.client.Group(name).Propose(ctx, nothing); err != nil {
		return nil, err
	}
	query, err := proto.Marshal(&capacitypb.Query{Op: &capacitypb.Query_Describe{Describe: &capacitypb.Describe{}}})
	if err != nil {
		return nil, err
	}
	raw, err := w.client.Group(name).Read(ctx, query)
	if err != nil {
		return nil, err
	}
	var a capacitypb.Answer
	return a.GetSummary(), proto.Unmarshal(raw, &a)
}

// followWithin is what is promised of live resources when a configuration is applied.
const followWithin = 2 * time.Second

// behind asks resources, some at once, and lists those that do not have that revision, or do
// not answer.
func (w *world) behind(names []string, revision uint64) (late []string, seen string) {
	var mu sync.Mutex
	w.each(names, 64, func(name string) {
		ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
		raw, err := w.client.Group(name).Read(ctx, []byte{0x0a, 0})
		cancel()
		var a capacitypb.Answer
		if err == nil {
			err = proto.Unmarshal(raw, &a)
		}
		if err == nil && a.GetSummary().GetRevision() == revision {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		late, seen = append(late, name), fmt.Sprint(name, " ", a.GetSummary(), " ", err)
	})
	return late, seen
}

// haveAll tells whether all of the resources have a revision.
func (w *world) haveAll(names []string, revision uint64) func() (bool, string) {
	return func() (bool, string) {
		late, seen := w.behind(names, revision)
		return len(late) == 0, fmt.Sprint(len(late), " of them not, like ", seen)
	}
}

// following applies a configuration and tells after how long the last of the resources was
// seen to have it. They are not asked at once: that would take from hosts what they follow with.
func (w *world) following(names []string, capacity int) time.Duration {
	w.Helper()
	revision := w.applyResources(capacity)
	applied := time.Now()
	undisturbed := min(followWithin/3, time.Duration(len(names))*5*time.Millisecond)
	w.within(30*time.Second, "the hosts follow", func() (bool, string) { return time.Since(applied) > undisturbed, "" })
	w.within(30*time.Second, "all follow", func() (bool, string) {
		late, seen := w.behind(names, revision)
		names = late
		return len(late) == 0, seen
	})
	took := time.Since(applied)
	w.Logf("all were seen to follow after %s", took)
	return took
}

// each calls do for every name, so many at once.
func (w *world) each(names []string, atOnce int, do func(name string)) {
	todo := make(chan string)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for name := range todo {
				do(name)
			}
		})
	}
	for _, name := range names {
		todo <- name
	}
	close(todo)
	workers.Wait()
}

// TestFirstUseAndItsConfiguration: groups come into being when they are used, follow what
// is applied, and go on following what their hosts know with no drummer in sight.
func TestFirstUseAndItsConfiguration(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.create() // the tests' policy
	_, err := w.definition("capacity/early", 20*time.Second)
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, reasonOf(err), "%v", err)
	first := w.applyResources(100)

	start := time.Now()
	_, err = w.definition("capacity/one", 20*time.Second)
	w.must(err)
	t.Logf("first use of one name: %.2fs", time.Since(start).Seconds())
	_, err = w.definition("capacity/team/x", 20*time.Second)
	w.must(err)
	names := []string{"capacity/one", "capacity/team/x"}
	var crowd sync.WaitGroup
	start = time.Now()
	for n := range 20 {
		name := fmt.Sprintf("capacity/many-%02d", n)
		names = append(names, name)
		for range 3 { // each name is new to several callers at once
			crowd.Go(func() {
				_, err := w.definition(name, 30*time.Second)
				require.NoError(t, err)
			})
		}
	}
	crowd.Wait()
	t.Logf("first use of 20 names by 60 callers: %.2fs", time.Since(start).Seconds())
	w.within(15*time.Second, "all have the configuration", w.haveAll(names, first))
	groups, err := w.groups()
	w.must(err)
	require.Len(t, groups, len(names), "no name was made twice, and nothing else was made")

	_, err = w.definition("capacity/a/b", 20*time.Second)
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, reasonOf(err), "%v", err)
	require.ErrorContains(t, err, "no template of app capacity matches the name")

	fastest := time.Hour
	for n := range 3 {
		fastest = min(fastest, w.following(names[2:], 200+n))
	}
	require.Less(t, fastest, followWithin)
	second := first + 3

	for _, p := range w.fleet.Processes() {
		if p.Kind == localfleet.KindDrummer {
			w.must(w.fleet.Kill(p.Name))
		}
	}
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	for i := range 3 {
		host := fmt.Sprintf("host-%d", i+1)
		w.must(w.fleet.Kill(host))
		w.must(w.fleet.Start(host))
		w.must(w.fleet.WaitReady(ctx, host))
		require.Contains(t, debugStatus(w, host), fmt.Sprintf(`"revision": %d`, second), host)
	}
	w.within(20*time.Second, "they serve with no drummer", w.haveAll(names[2:], second))
	w.within(30*time.Second, "who asks for a new name is told why it is not there", func() (bool, string) {
		_, err := w.definition("capacity/late", 3*time.Second) // a busy host may answer too late once
		return reasonOf(err) == hostpb.Reason_REASON_UNAVAILABLE && strings.Contains(err.Error(), "no drummer tells it"), fmt.Sprint(err)
	})
}

// debugStatus is a host's page of that name.
func debugStatus(w *world, host string) string {
	w.Helper()
	address := ""
	for _, p := range w.fleet.Processes() {
		if p.Name == host {
			address = p.HTTP
		}
	}
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, "http://"+address+"/debug/status", nil)
	w.must(err)
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	return string(body)
}
