//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client/capacity"
	"github.com/drumline/drumline/config/apps"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/chaos"
	"github.com/drumline/drumline/internal/localfleet"
)

// The tree of these tests: world is divided between ord, where its own group is, and hkg,
// and hkg's part between its clients and those of hkg/kowloon.
const (
	treeCapacity = 120.0
	treeSafe     = 2.0 // of a client, while the level above is away
	treeWants    = 50.0
)

// treeConfig has leases of the root that are so long, in seconds.
func treeConfig(lease int) []byte {
	return fmt.Appendf(nil, `resources:
- identifier_glob: world
  capacity: %[1]v
  safe_capacity: %[2]v
  regions: {ord: 3}
  algorithm: &fair {kind: FAIR_SHARE, lease_length: %[3]d, refresh_interval: 1}
- {identifier_glob: ord, parent: capacity/world, safe_capacity: %[2]v, regions: {ord: 3}, algorithm: *fair }
- {identifier_glob: hkg, parent: capacity/world, safe_capacity: %[2]v, regions: {hkg: 3}, algorithm: *fair }
- {identifier_glob: hkg/*, parent: capacity/hkg, safe_capacity: %[2]v, regions: {hkg: 3}, algorithm: *fair }
- {identifier_glob: "*", capacity: 0, auto_create: false, algorithm: *fair }
`, treeCapacity, treeSafe, lease)
}

// treeLeaves are the resources that clients lease.
func treeLeaves() []string { return []string{"ord", "hkg", "hkg/kowloon"} }

// tree is a fleet of two regions with such a resource, and clients that share it.
type tree struct {
	*world
	record  chaos.Leases
	clients map[string][]*capacity.Resource
}

// newTree has so many clients at each leaf.
func newTree(t *testing.T, lease, clients int) *tree {
	t.Helper()
	w := &tree{
		world:   newWorldOf(t, localfleet.Options{Drummers: 1, Hosts: 6, Regions: []string{"ord", "hkg"}}),
		clients: map[string][]*capacity.Resource{},
	}
	file, err := apps.Capacity("tree.yml", treeConfig(lease))
	w.must(err)
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	_, err = w.client.Drummer().ApplyConfiguration(ctx, &drummerpb.ApplyConfigurationRequest{Configuration: file.Configuration})
	w.must(err)
	conn := w.record.Through(w.client.Hosts())
	for _, name := range treeLeaves() {
		for i := range clients {
			c := capacity.New(conn, capacity.WithID(fmt.Sprint(name, "-", i)))
			t.Cleanup(c.Close)
			r, err := c.Resource(name, capacity.WithWants(treeWants))
			w.must(err)
			w.clients[name] = append(w.clients[name], r)
		}
	}
	return w
}

// all tells whether every client of these leaves may use so much, on that ground.
func (w *tree) all(basis capacity.Basis, amount float64, leaves ...string) (bool, string) {
	for _, name := range leaves {
		for i, r := range w.clients[name] {
			if s := r.State(); s.Basis != basis || math.Abs(s.Capacity-amount) > 1e-6 {
				return false, fmt.Sprintf("client %d of %s: %v %v", i, name, s, r.Err())
			}
		}
	}
	return true, ""
}

// undisturbed fails if any client noticed something while do was done: what it may use
// changed, or its lease ended.
func (w *tree) undisturbed(amount float64, what string, do func()) {
	w.Helper()
	for _, rs := range w.clients {
		for _, r := range rs {
			select { // what was said before
			case <-r.Changes():
			default:
			}
		}
	}
	do()
	for name, rs := range w.clients {
		for i, r := range rs {
			select {
			case s := <-r.Changes():
				require.True(w, s.Basis == capacity.Leased && math.Abs(s.Capacity-amount) < 1e-6, "%s: client %d of %s noticed: %v", what, i, name, s)
			default:
			}
		}
	}
}

// leasesOf tells until when the levels below the root lease of it, the earlier, on its clock.
func (w *tree) leasesOf(root string) (earliest int64, seen string) {
	w.Helper()
	query, err := proto.Marshal(&capacitypb.Query{Op: &capacitypb.Query_List{List: &capacitypb.List{Limit: 10}}})
	w.must(err)
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	raw, err := w.client.Group(root).Read(ctx, query)
	if err != nil {
		return 0, err.Error()
	}
	var a capacitypb.Answer
	w.must(proto.Unmarshal(raw, &a))
	earliest = math.MaxInt64
	for _, h := range a.GetHolders() {
		earliest = min(earliest, h.GetExpires())
	}
	return earliest, a.String()
}

// loseRoot kills the host that leads the root and waits until the levels below have leased
// from the next leader; then the dead host comes back.
func (w *tree) loseRoot() {
	w.Helper()
	const root = "capacity/world"
	dead := w.leader(root)
	w.must(w.fleet.Kill(dead))
	w.Logf("killed %s, which led the root", dead)
	before := int64(0)
	w.within(30*time.Second, "another host leads the root", func() (ok bool, seen string) {
		before, seen = w.leasesOf(root)
		return before > 0 && w.leader(root) != dead, seen
	})
	w.within(30*time.Second, "the levels below lease from it", func() (bool, string) {
		now, seen := w.leasesOf(root)
		return now > before, seen
	})
	w.must(w.fleet.Start(dead))
}

// fair waits until all clients have an equal share.
func (w *tree) fair(limit time.Duration) float64 {
	w.Helper()
	n := 0
	for _, rs := range w.clients {
		n += len(rs)
	}
	share := treeCapacity / float64(n)
	w.within(limit, "all clients have an equal share of the root", func() (bool, string) { return w.all(capacity.Leased, share, treeLeaves()...) })
	return share
}

// TestATreeAcrossRegions: clients of three levels share the root's capacity evenly; the host
// that leads the root dies, and nobody notices; the next leader goes on dividing.
func TestATreeAcrossRegions(t *testing.T) {
	w := newTree(t, 20, 2)
	share := w.fair(30 * time.Second)
	w.undisturbed(share, "the root's leader dies", w.loseRoot)
	for _, r := range w.clients["hkg/kowloon"] {
		w.must(r.SetWants(2))
	}
	// The root sees what four clients of hkg want together, so what two of them leave is for the
	// other two.
	w.within(30*time.Second, "what two clients leave is divided in their region", func() (bool, string) {
		if ok, seen := w.all(capacity.Leased, (4*share-4)/2, "hkg"); !ok {
			return false, seen
		}
		return w.all(capacity.Leased, share, "ord")
	})
	report, err := w.record.JudgeAll(treeCapacity, treeLeaves()...)
	w.must(err)
	require.Greater(t, report.Most, 0.99)
	t.Logf("%d answers, %.1f %% of the root in use at most", report.Answers, 100*report.Most)
}
