package planner_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// history is a stage on which things happen at random, and a planner that is told of them.
type history struct {
	*stage
	r      *rapid.T
	memory *planner.Memory
	made   int
}

// TestMemory: whoever remembers plans as somebody who sees everything for the first time.
func TestMemory(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := &history{stage: newStage(t), r: r, memory: planner.NewMemory()}
		for range 6 {
			h.newHost()
		}
		for range 4 {
			h.newGroup()
		}
		for range rapid.IntRange(1, 30).Draw(r, "length") {
			h.happen()
			v := planner.View{Fleet: h.m.Freeze(), Observed: h.o, Pending: h.pending}
			plan := h.memory.Plan(v)
			require.Equal(r, text(planner.Plan(v)), text(plan))
			h.follow(plan)
		}
	})
}

// happen lets one thing be another, in the record or in what is observed.
func (h *history) happen() {
	verbs := []func(){
		h.newHost, h.newGroup, h.state, h.state, h.duty, h.sayOtherwise, h.sayOtherwise, h.reconnect, h.forgets, h.stranger, h.paused, h.brake, h.resized, h.deleted, h.version, func() {},
	}
	verbs[rapid.IntRange(0, len(verbs)-1).Draw(h.r, "verb")]()
}

// follow carries a part of the plan out in the record.
func (h *history) follow(plan planner.Result) {
	h.pending = nil
	for _, a := range plan.Actions {
		if a.Command == nil {
			continue
		}
		if rapid.Bool().Draw(h.r, "applied") {
			h.apply(a.Command)
		} else {
			h.pending = append(h.pending, a.Command)
		}
	}
}

func (h *history) newHost() {
	h.made++
	h.host(fmt.Sprintf("h%d", h.made), []string{"east", "west"}[h.made%2], map[string]string{})
}

func (h *history) newGroup() {
	var up []string
	for id, host := range h.o.Hosts {
		if host.State == planner.Up && h.m.Freeze().Host(id).GetWanted().GetDuty() == 0 && !h.m.Freeze().Host(id).GetLost() {
			up = append(up, string(id))
		}
	}
	slices.Sort(up)
	if len(up) >= 3 {
		h.made++
		at := rapid.IntRange(0, len(up)-3).Draw(h.r, "at")
		h.open(fmt.Sprintf("kv/%d", h.made), up[at:at+3])
	}
}

func (h *history) anyHost() (ids.Host, *planner.Host) {
	var all []ids.Host
	for id := range h.o.Hosts {
		all = append(all, id)
	}
	slices.Sort(all)
	id := rapid.SampledFrom(all).Draw(h.r, "host")
	return id, h.o.Hosts[id]
}

func (h *history) anyReplica() (*fleetpb.Group, *fleetpb.Replica) {
	var all []*fleetpb.Group
	for g := range h.m.Freeze().Groups() {
		if len(g.GetReplicas()) > 0 {
			all = append(all, g)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	g := rapid.SampledFrom(all).Draw(h.r, "group")
	return g, rapid.SampledFrom(g.GetReplicas()).Draw(h.r, "replica")
}

func (h *history) state() {
	_, host := h.anyHost()
	h.judge(host, []string{rapid.SampledFrom([]string{"up", "suspect", "down", "maintained", "flapping", "booting=1"}).Draw(h.r, "state"), "silent=40s"})
}

func (h *history) duty() {
	id, _ := h.anyHost()
	duty := fleetpb.HostDuty(rapid.IntRange(0, 3).Draw(h.r, "duty")) //nolint:gosec // small
	h.apply(&fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: string(id), Wanted: &fleetpb.HostWanted{Duty: duty}}}})
}

// sayOtherwise has a host report something else of a replica, which the memory is told.
func (h *history) sayOtherwise() {
	g, r := h.anyReplica()
	if g == nil || h.o.Hosts[ids.Host(r.GetHostId())] == nil {
		return
	}
	words := []string{"ok", "starting", "down", "none", "serving", "unloaded", "opened", "observer", "cc=9", "sealed"}
	h.report(r.GetId(), []string{rapid.SampledFrom(words).Draw(h.r, "word"), "term=2", "opened"})
	h.memory.Touch(ids.Group(g.GetId()))
}

// reconnect begins another session with other reports, of which no word is said.
func (h *history) reconnect() {
	_, host := h.anyHost()
	host.Session++
	host.Replicas = map[planner.Ref]*drummerpb.ReplicaReport{}
}

func (h *history) forgets() {
	g, r := h.anyReplica()
	if g != nil {
		h.group(g.GetId()).Gone[ids.Replica(r.GetId())] = rapid.Bool().Draw(h.r, "gone")
		h.memory.Touch(ids.Group(g.GetId()))
	}
}

// stranger is a member that the record may or may not have known once.
func (h *history) stranger() {
	g, r := h.anyReplica()
	if g != nil {
		other := rapid.Uint64Range(1, 60).Draw(h.r, "other")
		h.members(g.GetId(), map[string]string{"cc": "3", "voters": fmt.Sprint(r.GetId()), "observers": fmt.Sprint(other)})
		h.memory.Touch(ids.Group(g.GetId()))
	}
}

func (h *history) paused() {
	pause := &fleetpb.Pause{Kind: rapid.SampledFrom([]string{"balance", "transfer", "drain", "replace"}).Draw(h.r, "kind"), Resume: rapid.Bool().Draw(h.r, "resume")}
	h.apply(&fleetpb.Command{Op: &fleetpb.Command_Pause{Pause: pause}})
}

func (h *history) brake() {
	h.apply(&fleetpb.Command{Op: &fleetpb.Command_SetBrake{SetBrake: &fleetpb.SetBrake{Engaged: rapid.Bool().Draw(h.r, "engaged")}}})
}

func (h *history) resized() {
	g, _ := h.anyReplica()
	if g != nil {
		spec := &fleetpb.Spec{Name: g.GetSpec().GetName(), App: "kv", Replicas: rapid.SampledFrom([]uint32{1, 3, 5}).Draw(h.r, "size"), Leaders: []string{"west"}}
		h.apply(&fleetpb.Command{Op: &fleetpb.Command_ShapeGroups{ShapeGroups: &fleetpb.ShapeGroups{Specs: []*fleetpb.Spec{spec}}}})
	}
}

func (h *history) deleted() {
	g, _ := h.anyReplica()
	if g != nil {
		h.apply(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: g.GetSpec().GetName(), Force: rapid.Bool().Draw(h.r, "force")}}})
	}
}

// version has a host that starts again with a newer program.
func (h *history) version() {
	id, _ := h.anyHost()
	rec := h.m.Freeze().Host(id)
	h.apply(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
		Id: rec.GetId(), Name: rec.GetName(), Region: rec.GetRegion(), Api: "x:1", Raft: "x:2", BootEpoch: rec.GetBootEpoch() + 1,
		Apps: []*fleetpb.App{{Name: "kv", Version: 2}},
	}}})
}
