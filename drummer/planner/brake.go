package planner

import (
	"cmp"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/planner/brake"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/mutant"
)

// Gone returns the ids of the hosts that are silent now, not in maintenance, and have
// replicas: those that a release of the brake accepts.
func Gone(v View) []string {
	p := newPass(v)
	var list []string
	for _, h := range p.gone() {
		list = append(list, h.rec.GetId())
	}
	slices.Sort(list)
	return list
}

// gone lists the hosts that are silent and have something that could be moved, the
// longest silent first. A host that was replaced long ago has nothing.
func (p *pass) gone() []*post {
	var list []*post
	for _, h := range p.hosts {
		if (h.seen.State == Suspect || h.seen.State == Down) && !h.seen.Maintained && h.entries > 0 {
			list = append(list, h)
		}
	}
	slices.SortStableFunc(list, func(a, b *post) int { return cmp.Compare(b.seen.Silent, a.seen.Silent) })
	return list
}

// brake keeps everything where it is when so many hosts vanished at once that the
// network, or the supervisor itself, is the likelier cause. It is engaged when the first
// of them is down, before which nothing is moved for its sake, and released when all are
// back or somebody says that they stay away.
func (p *pass) brake() {
	was := p.Fleet.Brake()
	if mutant.Is("no-brake") {
		return
	}
	gone := p.gone()
	fresh := slices.DeleteFunc(slices.Clone(gone), func(h *post) bool { return slices.Contains(was.GetAccepted(), h.rec.GetId()) })
	if was.GetEngaged() {
		p.braked = true
		if len(gone) == 0 && !p.Observed.Settling {
			p.setBrake(&fleetpb.SetBrake{Reason: "all hosts are back"}, "all hosts are back")
		}
		return
	}
	if reason := p.vanished(fresh); reason != "" {
		p.braked = true
		if slices.ContainsFunc(fresh, func(h *post) bool { return h.seen.State == Down }) {
			p.setBrake(&fleetpb.SetBrake{Engaged: true, Reason: bounded(reason), Accepted: was.GetAccepted()}, reason)
		}
		return
	}
	p.forgetAccepted(was.GetAccepted())
}

// forgetAccepted lets hosts that have returned engage the brake again.
func (p *pass) forgetAccepted(accepted []string) {
	still := slices.DeleteFunc(slices.Clone(accepted), func(id string) bool {
		at := p.post(id)
		return at.seen.State == Up && at.seen.Connected || at.seen.State == Lost || at == &p.nowhere
	})
	if len(still) < len(accepted) {
		p.setBrake(&fleetpb.SetBrake{Accepted: still}, "hosts have returned")
	}
}

func (p *pass) setBrake(c *fleetpb.SetBrake, why string) {
	p.actions = append(p.actions, ranked{Action{Command: &fleetpb.Command{Op: &fleetpb.Command_SetBrake{SetBrake: c}}, Why: why}, repairing})
}

// vanished says why the brake is needed; empty when it is not.
func (p *pass) vanished(gone []*post) string {
	all := map[string]int{}
	for _, h := range p.hosts {
		all[h.rec.GetRegion()]++
	}
	var away []brake.Host
	for _, h := range gone {
		away = append(away, brake.Host{Name: h.rec.GetName(), Region: h.rec.GetRegion(), Silent: h.seen.Silent})
	}
	rule := brake.Rule{Percent: int(p.policy.GetBrakePercent()), Window: time.Duration(p.policy.GetBrakeWindowMs()) * time.Millisecond}
	return rule.Needed(all, away)
}
