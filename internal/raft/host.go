package raft

import (
	"context"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// Host runs the replicas of one host.
type Host struct{}

var errSkeleton = fault.New(fault.Unavailable, "raft is being built")

func Open(o Options) (*Host, error)                     { return nil, errSkeleton }
func (h *Host) Close() error                            { return nil }
func (h *Host) HandOff(ctx context.Context) error       { return errSkeleton }
func (h *Host) Start(ctx context.Context, r Replica) error { return errSkeleton }
func (h *Host) Stop(ctx context.Context, g ids.Group) error { return errSkeleton }
func (h *Host) Destroy(ctx context.Context, g ids.Group, r ids.Replica) error { return errSkeleton }
func (h *Host) Propose(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) { return statemachines.Result{}, errSkeleton }
func (h *Host) OpenSession(ctx context.Context, g ids.Group) (Session, error) { return Session{}, errSkeleton }
func (h *Host) CloseSession(ctx context.Context, s Session) error { return errSkeleton }
func (h *Host) ProposeSession(ctx context.Context, s Session, cmd []byte) (statemachines.Result, error) { return statemachines.Result{}, errSkeleton }
func (h *Host) Read(ctx context.Context, g ids.Group, query []byte) ([]byte, error) { return nil, errSkeleton }
func (h *Host) View(ctx context.Context, g ids.Group) (any, error) { return nil, errSkeleton }
func (h *Host) LocalView(g ids.Group) (any, error) { return nil, errSkeleton }
func (h *Host) CatchUp(ctx context.Context, g ids.Group) error { return errSkeleton }
func (h *Host) OpenGroup(ctx context.Context, g ids.Group, version uint32) error { return errSkeleton }
func (h *Host) SealGroup(ctx context.Context, g ids.Group) error { return errSkeleton }
func (h *Host) RaiseVersion(ctx context.Context, g ids.Group, version uint32) error { return errSkeleton }
func (h *Host) Membership(ctx context.Context, g ids.Group) (Membership, error) { return Membership{}, errSkeleton }
func (h *Host) Change(ctx context.Context, g ids.Group, c Change) (Membership, error) { return Membership{}, errSkeleton }
func (h *Host) Transfer(ctx context.Context, g ids.Group, to ids.Replica) error { return errSkeleton }
func (h *Host) Status(g ids.Group) (Status, bool) { return Status{}, false }
func (h *Host) Statuses() []Status { return nil }
