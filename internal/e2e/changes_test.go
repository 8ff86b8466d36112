//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/chaos"
)

// TestChangesWhileHostsCrash has groups resized, moved, led from elsewhere, deleted and made
// again while processes are killed, stopped and paused, one after the other: no write is
// lost, and in the end all is as it was wanted last, and nothing moves. E2E_SEED repeats the
// draws of a run.
func TestChangesWhileHostsCrash(t *testing.T) {
	w := newWorld(t, 3, 6)
	steady, passing := specs("steady", 6), specs("passing", 4)
	w.create(steady...)
	w.create(passing...)
	w.within(15*time.Second, "launch", w.whole(nil))
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("E2E_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		w.must(err)
	}
	t.Logf("E2E_SEED=%d", seed)

	load := w.load(names(steady), 50*time.Millisecond)
	ctx, end := context.WithTimeout(t.Context(), changesFor)
	defer end()
	var blows sync.WaitGroup
	blows.Go(func() { w.strike(ctx, seed) })
	o := &operator{world: w, dice: rand.New(rand.NewPCG(seed, 1)), done: map[string]int{}, refused: map[string]int{}, gone: map[string]bool{}}
	for ctx.Err() == nil {
		o.change(ctx, steady, passing)
	}
	blows.Wait()
	t.Logf("done %v, refused %v", o.done, o.refused)

	o.settle(steady, passing)
	w.within(90*time.Second, "all as it was wanted last", func() (bool, string) {
		if ok, why := w.whole(nil)(); !ok {
			return false, why
		}
		resp, err := w.client.Drummer().Plan(w.Context(), &drummerpb.PlanRequest{})
		return err == nil && resp.GetStepsTotal() == 0 && len(resp.GetOpen()) == 0 && w.running() == 0, fmt.Sprint(resp, err)
	})
	w.finish(load)
	sum := 0
	for _, verb := range []string{"resize", "move", "transfer", "delete", "create"} {
		sum += o.done[verb]
		require.GreaterOrEqual(t, o.done[verb], changesGranted/20, verb)
	}
	require.GreaterOrEqual(t, sum, changesGranted)
}

// strike hurts one process after the other until ctx ends.
func (w *world) strike(ctx context.Context, seed uint64) {
	for _, b := range chaos.Schedule(seed, 1000, w.hostNames(), []string{"drummer-1", "drummer-2", "drummer-3"}) {
		if ctx.Err() != nil {
			return
		}
		if b.Action == chaos.ActionWipe {
			continue // it has tests of its own
		}
		b.For /= 4
		if err := chaos.Strike(ctx, w.fleet, b); err != nil && ctx.Err() == nil {
			w.Errorf("%s: %v", b, err)
			return
		}
		patience, cancel := context.WithTimeout(w.Context(), time.Minute)
		err := w.fleet.WaitReady(patience, b.Name)
		cancel()
		if err != nil {
			w.Errorf("after %s: %v", b, err)
			return
		}
	}
}

// operator is somebody who keeps on changing what is wanted.
type operator struct {
	*world
	dice          *rand.Rand
	done, refused map[string]int
	gone          map[string]bool // groups that were deleted
}

// change asks for one thing; that it is refused is no fault.
func (o *operator) change(ctx context.Context, steady, passing []*fleetpb.Spec) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var verb string
	var err error
	name := steady[o.dice.IntN(len(steady))].GetName()
	switch o.dice.IntN(4) {
	case 0:
		verb, err = "resize", o.resize(ctx, name, []uint32{3, 5}[o.dice.IntN(2)])
	case 1:
		verb, err = "move", o.move(ctx, name)
	case 2:
		verb, err = "transfer", o.transfer(ctx, name)
	default:
		verb, err = o.deleteOrCreate(ctx, passing[o.dice.IntN(len(passing))])
	}
	if err != nil {
		o.refused[verb]++
	} else {
		o.done[verb]++
	}
	pause := time.NewTimer(time.Duration(100+o.dice.IntN(300)) * time.Millisecond)
	defer pause.Stop()
	<-pause.C
}

func (o *operator) resize(ctx context.Context, name string, n uint32) error {
	resp, err := o.client.Drummer().ShapeGroups(ctx, &drummerpb.ShapeGroupsRequest{Specs: []*fleetpb.Spec{{Name: name, App: "kv", Replicas: n}}, Author: "test"})
	return outcome(resp.GetItems(), err)
}

// outcome is what came of one item.
func outcome(items []*fleetpb.ItemResult, err error) error {
	if err == nil && (len(items) != 1 || items[0].GetCode() != fleetpb.Code_CODE_OK) {
		err = fmt.Errorf("%v", items)
	}
	return err
}

// move asks for one of a group's replicas to go to a host that has none.
func (o *operator) move(ctx context.Context, name string) error {
	groups, err := o.groups()
	if err != nil || groups[name] == nil {
		return fmt.Errorf("no group: %w", err)
	}
	has := hostsOf(groups[name])
	to := ""
	for _, h := range o.hostNames() {
		free := true
		for _, other := range has {
			free = free && other != h
		}
		if free && (to == "" || o.dice.IntN(2) == 0) {
			to = h
		}
	}
	_, err = o.client.Drummer().MoveReplica(ctx, &drummerpb.MoveReplicaRequest{Name: name, From: has[o.dice.IntN(len(has))], To: to, Author: "test"})
	return err
}

func (o *operator) transfer(ctx context.Context, name string) error {
	groups, err := o.groups()
	if err != nil || groups[name] == nil {
		return fmt.Errorf("no group: %w", err)
	}
	has := hostsOf(groups[name])
	_, err = o.client.Drummer().TransferLeader(ctx, &drummerpb.TransferLeaderRequest{Name: name, To: has[o.dice.IntN(len(has))], Author: "test"})
	return err
}

// deleteOrCreate deletes a group, or makes one that was deleted.
func (o *operator) deleteOrCreate(ctx context.Context, spec *fleetpb.Spec) (verb string, err error) {
	name := spec.GetName()
	if !o.gone[name] {
		_, err = o.client.Drummer().DeleteGroup(ctx, &drummerpb.DeleteGroupRequest{Name: name})
		o.gone[name] = err == nil || client.OutcomeOf(err) == client.Unknown
		return "delete", err
	}
	resp, err := o.client.Drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: []*fleetpb.Spec{spec}})
	err = outcome(resp.GetItems(), err)
	o.gone[name] = err != nil
	return "create", err
}

// settle asks for what all shall be like in the end.
func (o *operator) settle(steady, passing []*fleetpb.Spec) {
	o.within(30*time.Second, "the last wishes are taken", func() (bool, string) {
		ctx, cancel := context.WithTimeout(o.Context(), 5*time.Second)
		defer cancel()
		for _, s := range steady {
			if err := o.resize(ctx, s.GetName(), 3); err != nil {
				return false, err.Error()
			}
			if _, err := o.client.Drummer().TransferLeader(ctx, &drummerpb.TransferLeaderRequest{Name: s.GetName(), Author: "test"}); err != nil {
				return false, err.Error()
			}
		}
		for _, s := range passing {
			if !o.gone[s.GetName()] {
				continue
			}
			if _, err := o.deleteOrCreate(ctx, s); err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
}
