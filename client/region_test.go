package client_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Whatever door of a region is used, its group is asked; concurrent calls for the groups of
// one name in two regions share a stream and are kept apart.
func TestTheDoorsOfARegionLeadToItsGroups(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	h := c.add("nodehost")
	var mu sync.Mutex
	asked := map[string]int{}
	ask := func(ref *hostpb.GroupRef) error {
		mu.Lock()
		defer mu.Unlock()
		asked[ref.GetName()+" in "+ref.GetRegion()]++
		return saying("GROUP_NOT_FOUND", "")
	}
	h.propose = func(_ context.Context, _ int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return nil, ask(req.GetGroup())
	}
	h.read = func(_ context.Context, _ int, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
		return nil, ask(req.GetGroup())
	}
	cl, ctx := c.open(h.addr), within(t, ample)
	doors := map[string]func(r client.Region) error{
		"board/x": func(r client.Region) error { _, err := r.Group("board/x").Propose(ctx, nil); return err },
		"kv/x":    func(r client.Region) error { _, err := r.KV("kv/x").Put(ctx, []byte("k"), nil); return err },
		"sequence/a": func(r client.Region) error {
			q := r.Sequence("sequence/a#key")
			defer func() { _ = q.Close() }()
			_, err := q.Next(ctx)
			return err
		},
		"sequence/b": func(r client.Region) error {
			q := r.GapFree("sequence/b")
			defer func() { _ = q.Close() }()
			_, err := q.Reserve(ctx)
			return err
		},
		"sequence/c": func(r client.Region) error {
			q := r.TimeIDs("sequence/c")
			defer func() { _ = q.Close() }()
			_, err := q.Next(ctx)
			return err
		},
		"sequence/d": func(r client.Region) error {
			q := r.Timestamps("sequence/d")
			defer func() { _ = q.Close() }()
			_, err := q.Next(ctx)
			return err
		},
		"counter/x": func(r client.Region) error {
			q := r.Counter("counter/x#key")
			defer func() { _ = q.Close(ctx) }()
			_, err := q.Value(ctx)
			return err
		},
	}
	var all sync.WaitGroup
	for _, region := range []string{"", "east", "west"} {
		for _, door := range doors {
			all.Go(func() {
				if door(cl.In(region)) == nil {
					t.Errorf("a door of %q leads somewhere else", region)
				}
			})
		}
	}
	all.Wait()
	for name := range doors {
		for _, region := range []string{"", "east", "west"} {
			require.NotZero(t, asked[fmt.Sprintf("%s in %s", name, region)], "%v", asked)
		}
	}
	require.Len(t, asked, 3*len(doors))
}
