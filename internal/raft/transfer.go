package raft

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/refusal"
)

// handOffAtOnce bounds the leaderships that are handed off at the same time.
const handOffAtOnce = 16

// Transfer gives the group's leadership to a voter and returns when this host has
// seen it lead. dragonboat's own request says nothing about its fate, so it is
// repeated while the context lasts.
func (h *Host) Transfer(ctx context.Context, g ids.Group, to ids.Replica) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return err
	}
	r.mu.Lock()
	_, voter := r.members.voters[to]
	r.mu.Unlock()
	if !voter {
		return r.conflict("replica %d is no voter and cannot lead", to)
	}
	return r.transfer(ctx, to)
}

func (r *replica) transfer(ctx context.Context, to ids.Replica) error {
	r.stirred() // asleep, a leader would neither finish a transfer nor give it up
	for {
		err := r.host.nh.RequestLeaderTransfer(uint64(r.spec.Group), uint64(to))
		if err != nil && !refusal.Passes(err) {
			return r.requestFault(err)
		}
		if r.awaitLeader(ctx, to, r.host.opts.Tick) {
			return nil
		}
		if ctx.Err() != nil {
			return fault.Wrap(ctx.Err(), fault.Deadline, "replica %d did not take the lead of group %s in time", to, r.spec.Name).InGroup(r.spec.Name)
		}
	}
}

// awaitLeader waits for that leader, no longer than patience.
func (r *replica) awaitLeader(ctx context.Context, want ids.Replica, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		r.mu.Lock()
		leader, changed := r.leader, r.changed
		r.mu.Unlock()
		if leader == want {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		case <-r.ended:
			return false
		}
	}
}

// HandOff gives away every leadership that this host holds, for a graceful stop,
// and returns when others lead all of those groups. Groups of one voter stay.
func (h *Host) HandOff(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for {
		led := h.ledWithOthers()
		if len(led) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fault.Wrap(ctx.Err(), fault.Deadline, "%d groups are still led here", len(led))
		}
		var pass errgroup.Group
		pass.SetLimit(handOffAtOnce)
		for _, r := range led {
			pass.Go(func() error {
				r.handOff(ctx)
				return nil
			})
		}
		if err := pass.Wait(); err != nil {
			return err
		}
	}
}

// ledWithOthers lists the replicas that lead a group which has other voters.
func (h *Host) ledWithOthers() []*replica {
	return slices.DeleteFunc(h.all(), func(r *replica) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.leading() || len(r.members.voters) < 2
	})
}

// handOff tries the other voters in turn, each for an election's time. Groups start
// at different ones, so that a host's leaderships spread.
func (r *replica) handOff(ctx context.Context) {
	r.mu.Lock()
	others := slices.Sorted(maps.Keys(r.members.voters))
	r.mu.Unlock()
	others = slices.DeleteFunc(others, func(id ids.Replica) bool { return id == r.spec.ID })
	for i := range others {
		to := others[(int(uint64(r.spec.Group)%uint64(len(others)))+i)%len(others)]
		attempt, cancel := context.WithTimeout(ctx, r.host.opts.electionTimeout())
		err := r.transfer(attempt, to)
		cancel()
		var f *fault.Error
		if err == nil || ctx.Err() != nil || (errors.As(err, &f) && f.Reason != fault.Deadline) {
			return
		}
	}
}
