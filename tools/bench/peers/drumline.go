package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/localfleet"
)

// drumline is a drummer and three hosts, each a process, and the clients that call them.
type drumline struct {
	fleet           *localfleet.Fleet
	unary, streamed *client.Client
	groups          []string
	set             keys
}

// startDrumline starts the fleet under dir and waits until its groups have every key.
func startDrumline(ctx context.Context, dir, bin string, groups int, set keys) (*drumline, error) {
	fleet, err := localfleet.Open(localfleet.Options{Dir: dir, Bin: bin, Drummers: 1, Hosts: members})
	if err != nil {
		return nil, err
	}
	d := &drumline{fleet: fleet, set: set}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := d.start(ctx, groups); err != nil {
		return nil, errors.Join(fmt.Errorf("start drumline: %w", err), d.close())
	}
	return d, nil
}

func (d *drumline) start(ctx context.Context, groups int) (err error) {
	if err := errors.Join(d.fleet.StartAll(), d.fleet.WaitReady(ctx)); err != nil {
		return err
	}
	if d.streamed, err = client.Open(ctx, d.fleet.APIs(localfleet.KindDrummer)); err != nil {
		return err
	}
	if d.unary, err = client.Open(ctx, d.fleet.APIs(localfleet.KindDrummer), client.WithUnary()); err != nil {
		return err
	}
	if err := d.fleet.WaitAttended(ctx, d.streamed); err != nil {
		return err
	}
	if err := d.launch(ctx, groups); err != nil {
		return err
	}
	return d.fill(ctx)
}

// launch has the drummer make the groups and waits until each has stored a key.
func (d *drumline) launch(ctx context.Context, groups int) error {
	req := &drummerpb.CreateGroupsRequest{}
	for g := range groups {
		name := "kv/bench-" + strconv.Itoa(g)
		d.groups = append(d.groups, name)
		req.Specs = append(req.Specs, &fleetpb.Spec{Name: name, App: "kv", Replicas: members})
	}
	if _, err := d.streamed.Drummer().CreateGroups(ctx, req); err != nil {
		return err
	}
	first := newRoad(d.streamed, d.groups, d.set)
	for g := range groups {
		if err := until(ctx, func() error { return first.put(ctx, g, 0) }); err != nil {
			return err
		}
	}
	return nil
}

// fill stores every key where it is looked for: in the first group, for the cells of
// one group, and in its own.
func (d *drumline) fill(ctx context.Context) error {
	// The clients learn here where the groups are led.
	for _, c := range []*client.Client{d.unary, d.streamed} {
		r := newRoad(c, d.groups, d.set)
		if err := eachKey(2*len(d.set.names), func(i int) error {
			key := i / 2
			return r.put(ctx, i%2*(key%len(d.groups)), key)
		}); err != nil {
			return err
		}
	}
	return nil
}

// cells are what is measured of drumline, on one group and on all.
func (d *drumline) cells(batch int) []*cell {
	unary, streamed := newRoad(d.unary, d.groups, d.set), newRoad(d.streamed, d.groups, d.set)
	var all []*cell
	for _, groups := range counts(len(d.groups)) {
		all = append(all,
			d.cell("put", "unary", groups, unary.put),
			d.cell("put", "streamed", groups, streamed.put),
			d.batched("put", groups, batch, streamed.putBatch),
			d.cell("propose", "unary", groups, unary.propose),
			d.cell("propose", "streamed", groups, streamed.propose),
			d.cell("read", "unary", groups, unary.get),
			d.cell("read", "streamed", groups, streamed.get),
			d.batched("read", groups, batch, streamed.getBatch))
	}
	return all
}

// cell is one whose calls do one operation.
func (d *drumline) cell(op, how string, groups int, do func(ctx context.Context, group, key int) error) *cell {
	c := &cell{Op: op, System: "drumline", How: how, Groups: groups, Batch: 1, pids: d.pids()}
	c.call = func(ctx context.Context, worker, turn int) error {
		group, key := d.set.pickOne(worker, turn, groups)
		return do(ctx, group, key)
	}
	return c
}

// batched is a cell whose calls do many operations, each on another key of one group.
func (d *drumline) batched(op string, groups, batch int, do func(ctx context.Context, group int, keys []int) error) *cell {
	c := &cell{Op: op, System: "drumline", How: "batched", Groups: groups, Batch: batch, pids: d.pids()}
	c.call = func(ctx context.Context, worker, turn int) error {
		group, list := d.set.pick(worker, turn, groups, batch)
		return do(ctx, group, list)
	}
	return c
}

// counts are the numbers of groups that are measured: one, and all when there are more.
func counts(groups int) []int {
	if groups == 1 {
		return []int{1}
	}
	return []int{1, groups}
}

func (d *drumline) pids() []int {
	var pids []int
	for _, p := range d.fleet.Processes() {
		pids = append(pids, p.PID)
	}
	return pids
}

func (d *drumline) close() error {
	for _, c := range []*client.Client{d.unary, d.streamed} {
		if c != nil {
			c.Close()
		}
	}
	return d.fleet.Close()
}
