// Package rebuild makes a fleet record of what hosts have, and of an older record where
// there is one, for drummers that have lost theirs. It is pure.
//
// What hosts run is the truth about replicas and memberships: the older record may not
// know of the newest. The older record is the truth about everything else: what is
// wanted, policy, history. Nothing that a host has is given up: what neither explains is
// kept, and said in a note.
package rebuild

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// Result is a record and what people should know of it.
type Result struct {
	Record *fleet.Machine
	// Fleet that the hosts attend, and the incarnation that the record must come above.
	Fleet       string
	Incarnation uint64
	// Notes are sentences for people.
	Notes []string
}

// work is the making of a record.
type work struct {
	base   *fleet.View
	heard  map[string]*statepb.Inventory
	hosts  map[string]*fleetpb.Host
	groups map[uint64]*found
	Result
	header *fleetpb.SnapshotHeader
}

// found is what hosts have of a group.
type found struct {
	name     string
	region   string
	replicas map[uint64]*fleetpb.Replica
	reports  []*statepb.InventoryReplica
	members  *drummerpb.Membership
	leads    bool // members is a leader's
}

// Make makes a record. base is the record of a backup, or that of nobody: then specs are
// guessed from what runs. Hosts of more than one fleet are an error.
func Make(base *fleet.View, hosts []*statepb.Inventory) (*Result, error) {
	w := &work{base: base, heard: map[string]*statepb.Inventory{}, hosts: map[string]*fleetpb.Host{}, groups: map[uint64]*found{}}
	w.header = base.Header()
	for _, inv := range hosts {
		if err := w.hear(inv); err != nil {
			return nil, err
		}
	}
	w.learnHosts()
	for _, inv := range hosts {
		for _, r := range inv.GetReplicas() {
			w.find(inv.GetHost().GetId(), r)
		}
	}
	parts := fleet.Parts{Header: w.header, Groups: w.allGroups(), Configurations: w.configurations(), Operations: w.operations()}
	parts.Hosts = sortedBy(w.hosts)
	parts.Events, _ = base.Events(0, 1<<30)
	w.header.Incarnation = max(w.header.GetIncarnation(), w.Incarnation)
	w.Incarnation = w.header.GetIncarnation() + 1
	m, err := fleet.Assemble(parts)
	w.Record = m
	return &w.Result, err
}

func sortedBy[T any](m map[string]T) []T {
	out := make([]T, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

func (w *work) note(format string, args ...any) {
	w.Notes = append(w.Notes, fmt.Sprintf(format, args...))
}

// hear takes a host in.
func (w *work) hear(inv *statepb.Inventory) error {
	h := inv.GetHost()
	if err := rules.CheckHost(h); err != nil {
		return fmt.Errorf("host %s: %w", h.GetName(), err)
	}
	if inv.GetFleet() != "" && w.Fleet != "" && inv.GetFleet() != w.Fleet {
		return fmt.Errorf("host %s is of fleet %s, others are of fleet %s: leave one of them out", h.GetName(), inv.GetFleet(), w.Fleet)
	}
	if w.Fleet == "" {
		w.Fleet = inv.GetFleet()
	}
	w.Incarnation = max(w.Incarnation, inv.GetIncarnation())
	w.heard[h.GetId()], w.hosts[h.GetId()] = inv, proto.CloneOf(h)
	return nil
}

// learnHosts adds the hosts that were not heard: from the older record, from what the
// others were told, and those that are only known as places of replicas.
func (w *work) learnHosts() {
	for h := range w.base.Hosts() {
		if w.hosts[h.GetId()] == nil {
			w.hosts[h.GetId()] = proto.CloneOf(h)
		}
	}
	for _, inv := range w.heard {
		for _, o := range inv.GetOthers() {
			h := &fleetpb.Host{Id: o.GetId(), Name: o.GetName(), Region: o.GetRegion(), Api: o.GetApi(), Raft: o.GetRaft(), BootEpoch: o.GetBootEpoch()}
			if w.hosts[h.GetId()] == nil && rules.CheckHost(h) == nil {
				w.hosts[h.GetId()] = h
			}
		}
	}
	names := map[string]string{}
	for id := range w.heard {
		names[w.hosts[id].GetName()] = id
	}
	for _, id := range slices.Sorted(maps.Keys(w.hosts)) {
		h := w.hosts[id]
		switch holder := names[h.GetName()]; {
		case w.heard[id] != nil || h.GetLost():
		case holder != "":
			h.Lost = true
			w.note("host %s (%s) is lost: %s has its name now", h.GetName(), id, holder)
		default:
			w.note("host %s (%s) was not heard; what only it has is not in the record, until it attends", h.GetName(), id)
		}
	}
}

// stranger makes a host of an id that only memberships name.
func (w *work) stranger(id string) {
	if w.hosts[id] == nil {
		w.hosts[id] = &fleetpb.Host{Id: id, Name: "unknown-" + id, Api: "unknown:1", Raft: "unknown:1", BootEpoch: 1}
		w.note("host %s is known only as the place of replicas; it is silent until it attends", id)
	}
}

// find takes in what a host says of a replica.
func (w *work) find(host string, r *statepb.InventoryReplica) {
	rep := r.GetReport()
	f := w.groups[rep.GetGroup()]
	if f == nil {
		f = &found{name: rep.GetName(), region: rep.GetRegion(), replicas: map[uint64]*fleetpb.Replica{}}
		w.groups[rep.GetGroup()] = f
	}
	f.reports = append(f.reports, r)
	f.replicas[rep.GetReplica()] = &fleetpb.Replica{
		Id: rep.GetReplica(), HostId: host, Phase: fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED, Joined: r.GetJoined(),
	}
	m := rep.GetMembership()
	newer := m.GetConfigChange() > f.members.GetConfigChange()
	if m != nil && (f.members == nil || newer || m.GetConfigChange() == f.members.GetConfigChange() && rep.GetServing() && !f.leads) {
		f.members, f.leads = m, rep.GetServing()
	}
	w.header.NextReplica = max(w.header.GetNextReplica(), rep.GetReplica()+1)
	w.header.NextGroup = max(w.header.GetNextGroup(), rep.GetGroup()+1)
}

// allGroups are those that hosts have, and those of the older record that nobody can say
// are gone.
func (w *work) allGroups() []*fleetpb.Group {
	all := map[uint64]*fleetpb.Group{}
	for _, id := range slices.Sorted(maps.Keys(w.groups)) {
		all[id] = w.group(id, w.groups[id])
	}
	for g := range w.base.Groups() {
		if all[g.GetId()] == nil && w.keeps(g) {
			all[g.GetId()] = proto.CloneOf(g)
			all[g.GetId()].Operation = 0
		}
	}
	out := make([]*fleetpb.Group, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[id])
	}
	w.oneName(out)
	return out
}

// keeps tells whether a group of the older record that no host has shall stay.
func (w *work) keeps(g *fleetpb.Group) bool {
	for _, r := range g.GetReplicas() {
		if w.heard[r.GetHostId()] == nil && !w.hosts[r.GetHostId()].GetLost() {
			return true
		}
	}
	if len(g.GetReplicas()) == 0 {
		return true // it is about to be placed
	}
	w.note("group %s (%d) is left out: every host that it was on was heard, and none has it", words.Full(g), g.GetId())
	return false
}

// group makes one of what hosts have.
func (w *work) group(id uint64, f *found) *fleetpb.Group {
	old := w.base.Group(ids.Group(id))
	g := &fleetpb.Group{Id: id, ConfigChange: f.members.GetConfigChange(), Generation: old.GetGeneration(), Origin: old.GetOrigin(), Heir: old.GetHeir(), Forced: old.GetForced()}
	for voter, host := range f.members.GetVoters() {
		w.stranger(host)
		if f.replicas[voter] == nil {
			f.replicas[voter] = &fleetpb.Replica{Id: voter, HostId: host, Phase: fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED}
			w.header.NextReplica = max(w.header.GetNextReplica(), voter+1)
		}
		f.replicas[voter].Voter = true
	}
	for _, r := range old.GetReplicas() {
		if r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED && f.replicas[r.GetId()] != nil && !f.replicas[r.GetId()].GetVoter() {
			f.replicas[r.GetId()].Phase = r.GetPhase()
		}
	}
	for _, r := range slices.Sorted(maps.Keys(f.replicas)) {
		g.Replicas = append(g.Replicas, f.replicas[r])
	}
	for _, r := range f.reports {
		g.Generation = max(g.GetGeneration(), r.GetGeneration())
	}
	g.Generation++
	g.State = stateOf(f, old)
	g.Spec = w.spec(f, old)
	return g
}

// stateOf is where a group is in its life by what its replicas say.
func stateOf(f *found, old *fleetpb.Group) fleetpb.GroupState {
	state := fleetpb.GroupState_GROUP_STATE_LAUNCHING
	for _, r := range f.reports {
		switch rep := r.GetReport(); {
		case rep.GetState() == drummerpb.ReplicaState_REPLICA_STATE_RETIRED:
			return fleetpb.GroupState_GROUP_STATE_RETIRED
		case rep.GetSealed():
			state = fleetpb.GroupState_GROUP_STATE_SEALING
		case rep.GetOpened() && state == fleetpb.GroupState_GROUP_STATE_LAUNCHING:
			state = fleetpb.GroupState_GROUP_STATE_OPEN
		}
	}
	if old != nil && (state == fleetpb.GroupState_GROUP_STATE_LAUNCHING || words.Nameless(old) || old.GetState() == fleetpb.GroupState_GROUP_STATE_SEALING) {
		return old.GetState()
	}
	return state
}

// spec is what the older record wanted, or a guess: as many voters as there are.
func (w *work) spec(f *found, old *fleetpb.Group) *fleetpb.Spec {
	if old != nil {
		return proto.CloneOf(old.GetSpec())
	}
	voters := len(f.members.GetVoters())
	if voters == 0 {
		voters = len(f.replicas)
	}
	app, _, _ := strings.Cut(f.name, "/")
	want := uint32(min(voters|1, 7)) //nolint:gosec // 1 to 7
	spec := rules.Settle(&fleetpb.Spec{Name: f.name, Region: f.region, App: app, Replicas: want, Raft: f.raft()})
	w.note("group %s is taken to want %d voters, %s", statemachines.NameOf(spec), want, cmp.Or(f.region, "anywhere"))
	return spec
}

// oneName lets the newest group of a name have it; the others are banned, and their data
// kept.
func (w *work) oneName(groups []*fleetpb.Group) {
	holder := map[string]*fleetpb.Group{}
	for _, g := range groups {
		if words.Nameless(g) {
			continue
		}
		if old := holder[words.Full(g)]; old != nil {
			old.State, old.Heir = fleetpb.GroupState_GROUP_STATE_RETIRED, g.GetId()
			w.note("group %d gives its name %s to group %d, which is newer; it is stopped and its data kept", old.GetId(), words.Full(old), g.GetId())
		}
		holder[words.Full(g)] = g
	}
}

// configurations are those of the older record, and newer ones that hosts follow.
func (w *work) configurations() []*fleetpb.Configuration {
	newest := map[string]*fleetpb.Configuration{}
	for _, inv := range sortedBy(w.heard) {
		for _, c := range inv.GetConfigurations() {
			if rules.CheckConfiguration(c) == nil && c.GetRevision() > newest[c.GetApp()].GetRevision() {
				newest[c.GetApp()] = c
			}
		}
	}
	all := map[string][]*fleetpb.Configuration{}
	for now := range w.base.Configurations() {
		all[now.GetApp()] = slices.Collect(w.base.Revisions(now.GetApp()))
	}
	var out []*fleetpb.Configuration
	for app, c := range newest {
		if c.GetRevision() > w.base.Configuration(app).GetRevision() {
			all[app] = append(all[app], c)
			w.note("the configuration of app %s is that which hosts follow, revision %d; its source is lost", app, c.GetRevision())
		}
	}
	for _, list := range sortedBy(all) {
		slices.SortFunc(list, func(a, b *fleetpb.Configuration) int { return cmp.Compare(a.GetRevision(), b.GetRevision()) })
		out = append(out, list...)
	}
	return out
}

// operations are the older record's history; what ran is over.
func (w *work) operations() []*fleetpb.Operation {
	var out []*fleetpb.Operation
	for o := range w.base.Operations() {
		if o.GetEndedUnixMs() == 0 {
			o = proto.CloneOf(o)
			o.EndedUnixMs, o.Result = max(o.GetStartedUnixMs(), 1), "superseded: the record was rebuilt"
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *fleetpb.Operation) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return out
}

// raft are the Raft options that the group's replicas run with.
func (f *found) raft() *fleetpb.RaftOptions {
	for _, r := range f.reports {
		if o := r.GetReport().GetRaft(); o != nil {
			return o
		}
	}
	return nil
}
