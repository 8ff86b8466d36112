package route_test

import (
	"context"
	"testing"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines"
)

// idle is a Raft whose only group is led here and does nothing.
type idle struct{ route.Raft }

func (idle) Propose(context.Context, ids.Group, []byte) (statemachines.Result, error) {
	return statemachines.Result{}, nil
}

func (idle) Status(g ids.Group) (raft.Status, bool) {
	return raft.Status{Group: g, Name: "kv/x", Ready: true, Leading: true, Serving: true, LeaderHost: "a"}, true
}

func (idle) GroupByName(string) (ids.Group, bool) { return 1000, true }

// BenchmarkLocalPropose is what routing adds to a proposal on the leader's host.
func BenchmarkLocalPropose(b *testing.B) {
	r := route.New(route.Options{Self: "a", Raft: idle{}, Local: idle{}, API: func(ids.Host) (string, bool) { return "127.0.0.1:1", true }})
	defer func() { _ = r.Close() }()
	req := &hostpb.ProposeRequest{Group: named("kv/x"), Command: []byte("v")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Propose(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}
