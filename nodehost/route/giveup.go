package route

import (
	"context"
	"errors"
	"fmt"
	"strings"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
)

// giveUp says why the request was not done within its deadline, and what to do.
func (w *walk) giveUp(ctx context.Context) error {
	name := w.title()
	explain := fmt.Sprintf("%q tells why", "drummer-cmd explain "+w.name())
	reason, applied := fault.NoQuorum, "nothing was applied"
	if w.unsure {
		reason, applied = fault.UnknownOutcome, "an earlier try may have been applied"
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(context.Canceled, fault.Deadline, "the caller gave up on group %s; %s", name, applied).InGroup(w.name())
	case w.saidAny(fault.NotOpen):
		return fault.New(fault.NotOpen, "group %s is not open yet (%s): try again shortly; %s", name, w.tried(), explain).InGroup(w.name())
	}
	return fault.New(reason,
		"no quorum: group %s has no leader that answers (%s), so most likely too few of its replicas are up; %s; %s",
		name, w.tried(), applied, explain).InGroup(w.name())
}

// saidAny tells whether one of the newest answers has that reason.
func (w *walk) saidAny(reason fault.Reason) bool {
	all := w.newest()
	for _, a := range all {
		if a.err.Reason == reason {
			return true
		}
	}
	return false
}

// newest are the answers of the last whole round, or of this one while it is the first.
func (w *walk) newest() []answer {
	if len(w.said) > 0 {
		return w.said
	}
	return w.round.answers
}

// tried tells who was asked and what they said.
func (w *walk) tried() string {
	all := w.newest()
	if len(all) == 0 {
		return "none of its replicas could be tried"
	}
	parts := make([]string, 0, len(all))
	for _, a := range all {
		parts = append(parts, w.replica(a.at)+": "+brief(a.err))
	}
	return strings.Join(parts, "; ")
}

// replica names the replica at an address, as well as it is known.
func (w *walk) replica(at string) string {
	for _, m := range w.where.GetMembers() {
		here := m.GetHostId() == string(w.r.o.Self) && at == target{here: true}.String()
		if here || w.r.memberAPI(m, w.where) == at {
			return fmt.Sprintf("replica %d on %s", m.GetReplica(), hostTitle(m))
		}
	}
	return at
}

// hostTitle names a member's host for people.
func hostTitle(m *hostpb.Member) string {
	if m.GetHostName() != "" {
		return m.GetHostName()
	}
	return m.GetHostId()
}

// brief is the short form of what a place said.
func brief(f *fault.Error) string {
	switch f.Reason {
	case fault.NotLeader:
		if f.LeaderHost != "" || f.Leader != "" {
			return "believes in a leader that does not answer"
		}
		return "knows no leader"
	case fault.Unavailable, fault.Deadline, fault.UnknownOutcome:
		return "no answer"
	case fault.NoQuorum:
		return "reaches no quorum"
	default:
		return f.Error()
	}
}

// name is the group's name, or its number if the name is not known.
func (w *walk) name() string {
	if n := statemachines.NameOf(w.where); n != "" {
		return n
	}
	return w.o.title()
}

// title names the group with its number.
func (w *walk) title() string { return refs.Title(statemachines.NameOf(w.where), w.where.GetId()) }
