package raft

import (
	"context"
	"errors"
	"slices"

	"github.com/lni/dragonboat/v3"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/membership"
	"github.com/drumline/drumline/internal/raft/refusal"
	"github.com/drumline/drumline/internal/wait"
)

// Membership reads who belongs to a group, linearizably, on any replica.
func (h *Host) Membership(ctx context.Context, g ids.Group) (Membership, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return Membership{}, err
	}
	return r.membership(ctx)
}

// Change changes a group's membership by one step: it reads, tells if it is so
// already, asks with the config change id that it read, and reads again, because
// neither a refusal nor a lost answer says what happened. On any replica that
// reaches the leader. An UnknownOutcome may still come true.
func (h *Host) Change(ctx context.Context, g ids.Group, c Change) (Membership, error) {
	if err := c.Check(); err != nil {
		return Membership{}, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return Membership{}, err
	}
	return r.change(ctx, c)
}

func (r *replica) membership(ctx context.Context) (Membership, error) {
	for {
		m, err := r.readMembership(ctx)
		if err == nil {
			return m, nil
		}
		again := refusal.Passes(err) || errors.Is(err, dragonboat.ErrTimeout)
		if ctx.Err() != nil {
			return Membership{}, r.unread(ctx)
		}
		if f := r.noQuorum(); !again || f != nil {
			if f == nil {
				f = r.requestFault(err)
			}
			return Membership{}, f
		}
		if !wait.For(ctx, r.host.opts.Tick) {
			return Membership{}, r.unread(ctx)
		}
	}
}

// readMembership asks once, for an election's time.
func (r *replica) readMembership(ctx context.Context) (Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, max(r.host.opts.electionTimeout(), 2*r.host.opts.Tick))
	defer cancel()
	m, err := r.host.nh.SyncGetClusterMembership(ctx, uint64(r.spec.Group))
	if err != nil {
		return Membership{}, err
	}
	out := Membership{
		ConfigChange: m.ConfigChangeID,
		Voters:       membership.HostsOf(m.Nodes),
		Observers:    membership.HostsOf(m.Observers),
	}
	for id := range m.Removed {
		out.Removed = append(out.Removed, ids.Replica(id))
	}
	slices.Sort(out.Removed)
	return out, nil
}

// change goes on until the membership read is the one wanted, or cannot be.
func (r *replica) change(ctx context.Context, c Change) (Membership, error) {
	asked := false
	for {
		m, err := r.membership(ctx)
		if err != nil {
			return m, r.changeFault(err, asked)
		}
		if c.Done(&m) {
			return m, nil
		}
		if c.ConfigChange != 0 && c.ConfigChange != m.ConfigChange {
			return m, r.conflict("the membership is at change %d, not %d", m.ConfigChange, c.ConfigChange)
		}
		if why := c.Forbidden(&m); why != "" {
			return m, r.conflict("%s", why)
		}
		err = r.requestChange(ctx, c, &m)
		asked = asked || !untouched(err)
		if err != nil && !errors.Is(err, dragonboat.ErrRejected) && !errors.Is(err, dragonboat.ErrTimeout) && !refusal.Passes(err) {
			return m, r.changeFault(r.requestFault(err), asked)
		}
		if err != nil && !wait.For(ctx, r.host.opts.Tick) {
			return m, r.changeFault(r.unread(ctx), asked)
		}
	}
}

// untouched tells whether a request that failed so certainly did nothing.
func untouched(err error) bool {
	return err != nil && (refusal.Passes(err) || errors.Is(err, dragonboat.ErrRejected))
}

func (r *replica) changeFault(err error, asked bool) error {
	if !asked {
		return err
	}
	return fault.Wrap(err, fault.UnknownOutcome, "the membership change of group %s may or may not come true: read the membership again", r.spec.Name).InGroup(r.spec.Name)
}

func (r *replica) conflict(format string, args ...any) error {
	f := fault.New(fault.Conflict, format, args...)
	f.Text = "change the membership of group " + r.spec.Name + ": " + f.Text
	return f.InGroup(r.spec.Name)
}

// requestChange asks dragonboat for the change, in the order that m gives.
func (r *replica) requestChange(ctx context.Context, c Change, m *Membership) error {
	ctx, cancel := context.WithTimeout(ctx, r.host.proposalTimeout())
	defer cancel()
	nh, group, id := r.host.nh, uint64(r.spec.Group), uint64(c.Replica)
	switch c.Kind {
	case AddObserver:
		return nh.SyncRequestAddObserver(ctx, group, id, string(c.Host), m.ConfigChange)
	case Promote:
		// Promotion is AddNode with the observer's own address.
		return nh.SyncRequestAddNode(ctx, group, id, string(m.Observers[c.Replica]), m.ConfigChange)
	default:
		return nh.SyncRequestDeleteNode(ctx, group, id, m.ConfigChange)
	}
}
