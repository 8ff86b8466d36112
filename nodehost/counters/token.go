package counters

import (
	"context"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/fault"
)

// honour refuses a token if the group does not know what it was given for. What will be
// there later is worth another try; a token that this counter never gave is not.
func (d *desk) honour(ctx context.Context, group string, g *counterpb.GroupInfo, t *counterpb.Token) error {
	switch {
	case t.GetIncarnation() == 0 && t.GetVersion() == 0:
		return nil
	case t.GetIncarnation() == 0:
		return fault.New(fault.Invalid, "the token has no incarnation: give back one as an answer had it, or none").InGroup(group)
	}
	for _, r := range g.GetRegions() {
		if r.GetOrigin().GetIncarnation() == t.GetIncarnation() {
			return known(group, g, r, t)
		}
	}
	if d.given(ctx, group, t) {
		return fault.New(fault.Unavailable, "group %s has not heard yet of the region that gave the token", group).InGroup(group)
	}
	return fault.New(fault.Invalid, "the token is of another counter, or of one of that name that was deleted: read without it").InGroup(group)
}

// known refuses a token of a life of a region that is known, if not enough is known of it.
func known(group string, g *counterpb.GroupInfo, r *counterpb.Region, t *counterpb.Token) error {
	over := r.GetPast() || r.GetRetired()
	region := r.GetOrigin().GetRegion()
	switch {
	case r.GetPast() && !r.GetRetired() && region == g.GetOrigin().GetRegion():
		// Versions of then and of now overlap: what was loaded is older than what was given.
		return fault.New(fault.Invalid, "the token was given before the group was recovered or restored, and what it was given for may be lost: read without it").InGroup(group)
	case r.GetVersion() >= t.GetVersion():
		return nil
	case r.GetOwn():
		return fault.New(fault.Unavailable, "group %s is at version %d and the token at %d: what it was given for is lost, or not here yet", group, r.GetVersion(), t.GetVersion()).InGroup(group)
	case over:
		return fault.New(fault.Invalid, "the token is of version %d of a life of region %q that is over, and no more than %d is known of it: read without it", t.GetVersion(), region, r.GetVersion()).InGroup(group)
	}
	return fault.New(fault.Unavailable, "region %q is known up to version %d, and the token is of %d: it is not here yet", region, r.GetVersion(), t.GetVersion()).InGroup(group)
}

// given tells whether another region of the counter may have given a token: one that has
// not been heard of, or that does not answer.
func (d *desk) given(ctx context.Context, group string, t *counterpb.Token) bool {
	for _, other := range d.askOthers(ctx, d.atlas.place(ctx, group, looking), &counterpb.Query{Op: &counterpb.Query_Status{Status: &counterpb.Status{}}}) {
		if other.answer == nil || other.answer.GetGroup().GetOrigin().GetIncarnation() == t.GetIncarnation() {
			return true
		}
	}
	return false
}
