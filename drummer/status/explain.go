package status

import (
	"slices"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// duty is what is wanted of a host, and whether that is reached, in a word.
func duty(h *fleetpb.Host, known *planner.Host) string {
	w := h.GetWanted()
	switch {
	case h.GetLost():
		return "lost"
	case words.Leaves(w.GetDuty()) && w.GetEmpty() && w.GetDuty() == fleetpb.HostDuty_HOST_DUTY_LEAVING:
		return "left"
	case words.Leaves(w.GetDuty()) && w.GetEmpty():
		return "drained"
	case w.GetDuty() == fleetpb.HostDuty_HOST_DUTY_UNSPECIFIED && known.Maintained:
		return "maintenance"
	default:
		return words.DutyWord(w.GetDuty())
	}
}

// FindHost returns the host of that id or name, one that is not lost before one that is;
// nil for none.
func FindHost(v *fleet.View, ref string) *fleetpb.Host {
	if h := v.Host(ids.Host(ref)); h != nil && !h.GetRemoved() {
		return h
	}
	var found *fleetpb.Host
	for h := range v.Hosts() {
		if h.GetName() == ref && (found == nil || found.GetLost()) {
			found = h
		}
	}
	return found
}

// HostInfo describes one host of HostInfos; nil when there is none of that id.
func HostInfo(v *fleet.View, o *loop.Observed, id ids.Host) *drummerpb.HostInfo {
	for _, info := range HostInfos(v, o) {
		if info.GetHost().GetId() == string(id) {
			return info
		}
	}
	return nil
}

// ExplainHost describes a host, why it is not as it is wanted, and what was and is done
// about it, newest first.
func ExplainHost(v *fleet.View, o *loop.Observed, id ids.Host) *drummerpb.ExplainResponse {
	answer := &drummerpb.ExplainResponse{Host: HostInfo(v, o, id), Reasons: slices.Clone(o.HostReasons[id])}
	const most = 100 // groups that are told of
	n := 0
	for g := range v.Groups() {
		on := slices.ContainsFunc(g.GetReplicas(), func(r *fleetpb.Replica) bool { return r.GetHostId() == string(id) })
		reasons := o.Reasons[ids.Group(g.GetId())]
		if !on || len(reasons) == 0 {
			continue
		}
		if n++; n <= most {
			answer.Reasons = append(answer.Reasons, "group "+words.Full(g)+": "+reasons[len(reasons)-1])
		}
	}
	for op := range v.Operations() {
		if op.GetHost() == string(id) {
			answer.Operations = append(answer.Operations, Operation(v, o, op))
		}
	}
	return answer
}

// ExplainOperation describes an operation with the group or host that it is about; nil
// when its history is forgotten.
func ExplainOperation(v *fleet.View, o *loop.Observed, id uint64) *drummerpb.ExplainResponse {
	op := v.Operation(id)
	if op == nil {
		return nil
	}
	answer := &drummerpb.ExplainResponse{}
	if op.GetHost() != "" {
		answer = ExplainHost(v, o, ids.Host(op.GetHost()))
	} else {
		group := ids.Group(op.GetGroup())
		answer.Group, answer.Reasons = GroupInfo(v, o, group), slices.Clone(o.Reasons[group])
	}
	if op.GetEndedUnixMs() != 0 {
		answer.Reasons = nil
	}
	answer.Operations = []*fleetpb.Operation{Operation(v, o, op)}
	return answer
}
