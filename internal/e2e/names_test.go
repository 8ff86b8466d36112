//go:build e2e || e2elong

package e2e

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/config/apps"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/localfleet"
)

// namesConfig has resources of any name.
const namesConfig = `resources:
- identifier_glob: "*/*"
  capacity: 100
  algorithm: {kind: FAIR_SHARE, lease_length: 60, refresh_interval: 15}
- identifier_glob: "*"
  capacity: 100
  algorithm: {kind: FAIR_SHARE, lease_length: 60, refresh_interval: 15}
`

// leasing is a client of Doorman's wire that asks one host.
type leasing struct {
	*world
	at doormanpb.CapacityClient
}

func (w *world) leasing(host string) leasing {
	w.Helper()
	p, err := w.fleet.Process(host)
	w.must(err)
	conn, err := grpc.NewClient(p.API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	w.must(err)
	w.Cleanup(func() { w.must(conn.Close()) })
	return leasing{w, doormanpb.NewCapacityClient(conn)}
}

// get asks once, and release gives back.
func (l leasing) get(resource string, wants float64) (float64, error) {
	ctx, cancel := context.WithTimeout(l.Context(), 20*time.Second)
	defer cancel()
	r := &doormanpb.ResourceRequest{ResourceId: &resource, Priority: new(int64(0)), Wants: &wants}
	resp, err := l.at.GetCapacity(ctx, &doormanpb.GetCapacityRequest{ClientId: new("original"), Resource: []*doormanpb.ResourceRequest{r}})
	if err != nil {
		return 0, err
	}
	require.Equal(l, resource, resp.GetResponse()[0].GetResourceId())
	return resp.GetResponse()[0].GetGets().GetCapacity(), nil
}

func (l leasing) release(resource string) error {
	ctx, cancel := context.WithTimeout(l.Context(), 20*time.Second)
	defer cancel()
	_, err := l.at.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: new("original"), ResourceId: []string{resource}})
	return err
}

// shown is what `capacity show` and `list` tell of a resource.
type shown struct {
	Resource, Region, State string
	Granted, Capacity       float64
	Holders                 []struct{ Client string }
}

func (w *world) shown(args ...string) shown {
	w.Helper()
	var s shown
	w.must(json.Unmarshal([]byte(w.run(append([]string{"capacity", "show"}, args...)...)), &s))
	return s
}

// TestNamesOfResources: a resource may have any printable name, an at sign, which means
// nothing, and slashes in it; only a hash sign, behind which a key would begin, is refused.
func TestNamesOfResources(t *testing.T) {
	w := newWorld(t, 1, 3)
	file, err := apps.Capacity("config.yml", []byte(namesConfig))
	w.must(err)
	_, err = w.client.Drummer().ApplyConfiguration(w.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: file.Configuration})
	w.must(err)
	doorman := w.leasing("host-1")
	names := []string{"a@b", "eu/db@main:5432 (old)"}
	for _, name := range names {
		got, err := doorman.get(name, 60)
		w.must(err)
		require.InDelta(t, 60, got, 0, "%s is made on first use", name)
		w.run("capacity", "get", "cli", name, "30")
		s := w.shown(name)
		require.Equal(t, name, s.Resource)
		require.Empty(t, s.Region)
		require.InDelta(t, 90, s.Granted, 0)
		require.Len(t, s.Holders, 2)
		w.run("capacity", "release", "cli", name)
		w.must(doorman.release(name))
		require.Empty(t, w.shown(name).Holders)
	}
	var all []shown
	w.must(json.Unmarshal([]byte(w.run("capacity", "list")), &all))
	require.Len(t, all, len(names))
	for i, name := range names {
		require.Equal(t, name, all[i].Resource)
	}
	_, err = doorman.get("a#b", 1)
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	_, err = w.command("capacity", "get", "cli", "a#b", "1")
	require.ErrorContains(t, err, "hash sign")
}

// TestAGroupInEachOfTwoRegions: what a command or a call means is said by its region, of every
// app; without one it is refused, on Doorman's wire always.
func TestAGroupInEachOfTwoRegions(t *testing.T) {
	w := newWorldOf(t, localfleet.Options{Drummers: 1, Hosts: 2, Regions: []string{"east", "west"}})
	file, err := apps.Capacity("config.yml", []byte(namesConfig))
	w.must(err)
	_, err = w.client.Drummer().ApplyConfiguration(w.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: file.Configuration})
	w.must(err)
	regions := []string{"east", "west"}
	for _, region := range regions {
		for _, name := range []string{"kv/x", "sequence/x", "capacity/x"} {
			w.run("groups", "create", name, "--region", region, "-n", "1", "--wait")
		}
	}
	for i, region := range regions {
		w.run("kv", "put", "kv/x", "k", region, "--region", region)
		e, found, err := w.client.In(region).KV("kv/x").Get(w.Context(), []byte("k"))
		w.must(err)
		require.True(t, found)
		require.Equal(t, region, string(e.Value))
		for n := range i + 2 {
			var got struct{ Numbers []int }
			w.must(json.Unmarshal([]byte(w.run("sequence", "next", "x", "--region", region)), &got))
			require.Equal(t, []int{n + 1}, got.Numbers)
		}
		w.run("capacity", "get", "cli", "x", "70", "--region", region)
		require.InDelta(t, 70, w.shown("x", "--region", region).Granted, 0)
	}
	w.run("capacity", "release", "cli", "x", "--region", "west")
	require.InDelta(t, 70, w.shown("x", "--region", "east").Granted, 0)
	require.Zero(t, w.shown("x", "--region", "west").Granted)

	const sentence = "is in east, west: say"
	for _, args := range [][]string{
		{"kv", "get", "kv/x", "k"},
		{"kv", "put", "kv/x", "k", "v"},
		{"sequence", "next", "x"},
		{"capacity", "show", "x"},
		{"capacity", "get", "cli", "x", "1"},
		{"capacity", "release", "cli", "x"},
	} {
		_, err := w.command(args...)
		require.ErrorContains(t, err, sentence, "%v", args)
		_, err = w.command(append(args, "--region", "north")...)
		require.ErrorContains(t, err, "north", "%v", args)
	}
	_, err = w.client.KV("kv/x").Put(w.Context(), []byte("k"), nil)
	require.Equal(t, hostpb.Reason_REASON_INVALID, reasonOf(err), "%v", err)
	doorman := w.leasing("host-1")
	_, err = doorman.get("x", 1)
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "group capacity/x is in east, west: say which region is meant, or use a name that one group has")
	require.ErrorContains(t, doorman.release("x"), sentence)
}
