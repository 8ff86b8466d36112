package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/internal/localfleet"
)

// drumline is a drummer and three hosts, each a process, and the clients that call them.
type drumline struct {
	fleet  *localfleet.Fleet
	client *client.Client
	groups []string
	set    keys
	puts   [][]byte // by key, the commands that are proposed bare
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
	if d.client, err = client.Open(ctx, d.fleet.APIs(localfleet.KindDrummer)); err != nil {
		return err
	}
	if err := d.fleet.WaitAttended(ctx, d.client); err != nil {
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
	if _, err := d.client.Drummer().CreateGroups(ctx, req); err != nil {
		return err
	}
	for g := range groups {
		if err := until(ctx, func() error { return d.put(ctx, g, 0) }); err != nil {
			return err
		}
	}
	return nil
}

// fill stores every key in every group: a cell may use any number of groups.
func (d *drumline) fill(ctx context.Context) error {
	for i := range d.set.names {
		put := &kvpb.Put{Key: []byte(d.set.names[i]), Value: []byte(d.set.value)}
		command, err := proto.Marshal(&kvpb.Command{Op: &kvpb.Command_Put{Put: put}})
		if err != nil {
			return err
		}
		d.puts = append(d.puts, command)
	}
	return eachKey(len(d.groups)*len(d.set.names), func(i int) error { return d.put(ctx, i%len(d.groups), i/len(d.groups)) })
}

func (d *drumline) put(ctx context.Context, group, key int) error {
	_, err := d.client.KV(d.groups[group]).Put(ctx, []byte(d.set.names[key]), []byte(d.set.value))
	return err
}

func (d *drumline) get(ctx context.Context, group, key int) error {
	entry, found, err := d.client.KV(d.groups[group]).Get(ctx, []byte(d.set.names[key]))
	if err != nil {
		return err
	}
	if !found || len(entry.Value) != valueSize {
		return fmt.Errorf("group %s has lost key %s", d.groups[group], d.set.names[key])
	}
	return nil
}

// propose gives the group the command of a put without the client's KV around it.
func (d *drumline) propose(ctx context.Context, group, key int) error {
	_, err := d.client.Group(d.groups[group]).Propose(ctx, d.puts[key])
	return err
}

// cells are what is measured of drumline, on one group and on all.
func (d *drumline) cells() []*cell {
	var all []*cell
	for _, groups := range counts(len(d.groups)) {
		for _, op := range []struct {
			name string
			do   func(ctx context.Context, group, key int) error
		}{{"put", d.put}, {"propose", d.propose}, {"read", d.get}} {
			all = append(all, &cell{Op: op.name, System: "drumline", How: "unary", Groups: groups, Batch: 1, pids: d.pids(), call: func(ctx context.Context, worker, turn int) error {
				group, key := d.set.pick(worker, turn, groups)
				return op.do(ctx, group, key)
			}})
		}
	}
	return all
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
	if d.client != nil {
		d.client.Close()
	}
	return d.fleet.Close()
}
