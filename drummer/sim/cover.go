package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/drumline/drumline/drummer/members/change"
	"github.com/drumline/drumline/drummer/sim/cluster"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// cell is what an operation was doing when a fault struck.
type cell struct{ step, fault string }

// Coverage counts, for each step of an operation and each fault that struck during it,
// how the operation ended.
type Coverage map[cell]map[string]int

// Steps are the steps of operations, in the order in which they are taken.
func Steps() []string {
	return []string{"place", "start", "open", "load", "add", "join", "catch-up", "remove", "promote", "seal", "purge"}
}

// killed is what strikes the steps of a change of the drummers' own group.
const killed = "drummer-killed"

// crewSteps are these steps, by their kinds.
func crewSteps() map[change.Kind]string {
	return map[change.Kind]string{
		change.Observe: "observe", change.Promote: "give vote", change.Remove: "remove drummer", change.HandOver: "hand over",
		change.Joined: "joined", change.Gone: "gone",
	}
}

// Add adds the counts of another run.
func (c Coverage) Add(o Coverage) {
	for at, outcomes := range o {
		for outcome, n := range outcomes {
			c.count(at, outcome, n)
		}
	}
}

func (c Coverage) count(at cell, outcome string, n int) {
	if c[at] == nil {
		c[at] = map[string]int{}
	}
	c[at][outcome] += n
}

// Table is a row for each fault and a column for each step, with how many operations
// were struck there; below it how they ended.
func (c Coverage) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s", "fault \\ step")
	for _, s := range Steps() {
		fmt.Fprintf(&b, " %8s", s)
	}
	fmt.Fprintln(&b)
	for _, f := range Kinds() {
		fmt.Fprintf(&b, "%-16s", f)
		for _, s := range Steps() {
			fmt.Fprintf(&b, " %8d", c.struck(s, f))
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintf(&b, "\n%-16s", "step \\ end")
	ends := c.ends()
	for _, e := range ends {
		fmt.Fprintf(&b, " %12s", e)
	}
	fmt.Fprintln(&b)
	for _, s := range Steps() {
		fmt.Fprintf(&b, "%-16s", s)
		for _, e := range ends {
			n := 0
			for _, f := range Kinds() {
				n += c[cell{s, f}][e]
			}
			fmt.Fprintf(&b, " %12d", n)
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintf(&b, "\n%-16s", killed)
	for _, s := range slices.Sorted(maps.Values(crewSteps())) {
		fmt.Fprintf(&b, " %s: %d ", s, c.struck(s, killed))
	}
	fmt.Fprintln(&b)
	return b.String()
}

func (c Coverage) struck(step, fault string) int {
	n := 0
	for _, k := range c[cell{step, fault}] {
		n += k
	}
	return n
}

func (c Coverage) ends() []string {
	all := map[string]bool{}
	for _, outcomes := range c {
		for o := range outcomes {
			all[o] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Empty lists the rows, step and fault, that no schedule reached.
func (c Coverage) Empty() []string {
	var list []string
	for _, s := range Steps() {
		for _, f := range Kinds() {
			if len(c[cell{s, f}]) == 0 {
				list = append(list, s+" × "+f)
			}
		}
	}
	for _, s := range slices.Sorted(maps.Values(crewSteps())) {
		if len(c[cell{s, killed}]) == 0 {
			list = append(list, s+" × "+killed)
		}
	}
	return list
}

// struck notes which operations a fault strikes.
func (w *world) strike(fault string) {
	for rec := range w.Record.Freeze().Groups() {
		if rec.GetOperation() != 0 {
			w.struck[rec.GetOperation()] = append(w.struck[rec.GetOperation()], cell{w.stepOf(rec), fault})
		}
	}
}

// stepOf says which step of its operation a group is at.
func (w *world) stepOf(rec *fleetpb.Group) string {
	switch rec.GetState() {
	case fleetpb.GroupState_GROUP_STATE_LAUNCHING:
		if len(rec.GetReplicas()) == 0 {
			return "place"
		}
		return "start"
	case fleetpb.GroupState_GROUP_STATE_OPENING:
		if rec.GetOrigin() != nil {
			return "load"
		}
		return "open"
	case fleetpb.GroupState_GROUP_STATE_SEALING:
		return "seal"
	case fleetpb.GroupState_GROUP_STATE_PURGING:
		return "purge"
	}
	g := w.Groups[rec.GetId()]
	for _, r := range rec.GetReplicas() {
		if r.GetVoter() || r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED || g == nil {
			continue
		}
		p := g.Peer(r.GetId())
		switch {
		case g.Place(r.GetId()) == "":
			return "add"
		case p.Log == nil || !p.Ready:
			return "join"
		case p.Match < g.Commit-cluster.Kept/10:
			return "catch-up"
		case len(g.Voters) >= int(rec.GetSpec().GetReplicas()):
			return "remove"
		}
		return "promote"
	}
	return "add"
}

// followOperations notes how struck operations of a group ended.
func (w *world) followOperations(id ids.Group) {
	if len(w.struck) == 0 {
		return
	}
	v := w.Record.Freeze()
	for _, op := range slices.SortedFunc(maps.Keys(w.struck), cmp.Compare[uint64]) {
		o := v.Operation(op)
		if o != nil && (o.GetEndedUnixMs() == 0 || id != 0 && o.GetGroup() != uint64(id)) {
			continue
		}
		w.outcome(op, o.GetResult())
	}
}

func (w *world) outcome(op uint64, result string) {
	word, _, _ := strings.Cut(result, ":")
	for _, at := range w.struck[op] {
		w.cover.count(at, word, 1)
	}
	delete(w.struck, op)
}

// closeBook counts what never ended.
func (w *world) closeBook() {
	for _, op := range slices.Sorted(maps.Keys(w.struck)) {
		w.outcome(op, "unfinished")
	}
}
