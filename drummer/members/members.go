// Package members knows the drummers once their group exists, and changes who belongs to it.
//
// The list of drummers is in the fleet record; every drummer follows it there, keeps it on
// disk, and tells others of it when they Meet, so that a drummer finds the others even when
// all that its configuration names were replaced. The drummer that leads carries out the one
// change that the record wants (package change decides the steps): what is under way is in
// the record and in Raft's membership alone, so another leader goes on with it.
//
// A drummer that joins is started with an empty data directory and waits: the leader asks it
// who it is, the record gives it a number, and when the group has it as an observer the leader
// tells it that number (admit). It writes that down and starts its replica, which has no vote
// until it has caught up. A drummer that was removed learns it from the others, writes that
// down too, and stops for good.
package members

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/drummers"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// Group is the drummers' Raft group on this process; *raft.Host is one.
type Group interface {
	Status(g ids.Group) (raft.Status, bool)
	Membership(ctx context.Context, g ids.Group) (raft.Membership, error)
	Change(ctx context.Context, g ids.Group, c raft.Change) (raft.Membership, error)
	Transfer(ctx context.Context, g ids.Group, to ids.Replica) error
	CatchUp(ctx context.Context, g ids.Group) error
	RaiseVersion(ctx context.Context, g ids.Group, version uint32) error
}

// Record is the fleet record as this drummer's replica has it.
type Record interface {
	// LocalView is what this replica has applied.
	LocalView() (*fleet.View, error)
	// Propose proposes a command; this replica must lead.
	Propose(ctx context.Context, c *fleetpb.Command) (*fleetpb.Result, error)
}

// Options are what Members need; all of it but Number is required.
type Options struct {
	// Deployment that every drummer shares.
	Deployment string
	// Self is what this drummer says of itself. Its number is its index if the group was
	// formed with it, else 0.
	Self *fleetpb.Drummer
	// BootEpoch counts the starts of its data directory.
	BootEpoch uint64
	// Configured are gRPC addresses of drummers.
	Configured []string
	// DB keeps the list and what this drummer is; it belongs to the caller.
	DB *bbolt.DB
	// Learn is told the Raft addresses of members.
	Learn func(h ids.Host, raft string, epoch uint64) error
	// Conn returns a connection to an address; it belongs to the callee.
	Conn func(address string) (grpc.ClientConnInterface, error)
	Log  *slog.Logger
}

// Cluster is what there is once this drummer's replica runs.
type Cluster struct {
	Group  Group
	Record Record
	// Fleet that the drummers keep the record of.
	Fleet string
	// Founders are the drummers that the group was formed with; nil on one that joined.
	Founders []*fleetpb.Drummer
	// Seeded: the group goes on with the record of one that is gone, so that drummers of that
	// one keep a record of the same fleet.
	Seeded bool
}

// Members answers, follows and changes. It is safe for concurrent use.
type Members struct {
	drummerpb.UnimplementedMembersServer
	o     Options
	store store

	admitted chan struct{} // closed when this drummer has its number

	mu      sync.Mutex
	own     own
	roster  *drummerpb.Roster // the newest that is known, of the record or of others; never changed in place
	cluster *Cluster          // nil until the replica runs
	met     map[string]bool   // addresses that have answered since the start
	step    string            // what the change under way does or waits for
}

// RemovedError says that this drummer belongs to the group no more.
type RemovedError struct {
	Number uint64
	Host   ids.Host
}

// Error says what happened and how to go on.
func (e *RemovedError) Error() string {
	return fmt.Sprintf("drummer %d (host %s) was removed from the drummers' group for good: leave it stopped and delete its data directory; "+
		"to have it back, start it with --join and an empty data directory, and add it", e.Number, e.Host)
}

// New reads what is on disk. A drummer that was removed gets a *RemovedError.
func New(o Options) (*Members, error) {
	m := &Members{o: o, store: store{o.DB}, admitted: make(chan struct{}), met: map[string]bool{}}
	var err error
	if m.own, m.roster, err = m.store.load(); err != nil {
		return nil, err
	}
	if o.Self.GetNumber() != 0 {
		m.own.Number = o.Self.GetNumber()
	}
	if m.own.Removed {
		return nil, m.removedError()
	}
	if m.own.Number != 0 {
		close(m.admitted)
	}
	for _, d := range m.roster.GetDrummers() {
		if err := m.learn(d, 0); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Members) removedError() error {
	return &RemovedError{Number: m.own.Number, Host: ids.Host(m.o.Self.GetHostId())}
}

// Await blocks until this drummer has a number: at once, unless it waits to be added.
func (m *Members) Await(ctx context.Context) (number uint64, fleet string, err error) {
	select {
	case <-m.admitted:
	default:
		m.o.Log.Info("waiting to be added to the drummers' group: run drummer-cmd servers add or servers replace with this address", "address", m.o.Self.GetApi())
	}
	select {
	case <-m.admitted:
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.own.Number, m.roster.GetFleet(), nil
	case <-ctx.Done():
		return 0, "", fmt.Errorf("wait to be added to the drummers' group: %w", ctx.Err())
	}
}

// Number of this drummer; 0 while it waits to be added.
func (m *Members) Number() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own.Number
}

// Started tells whether the replica of a drummer that joined was started on this directory.
func (m *Members) Started() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own.Started
}

// MarkStarted records that it was.
func (m *Members) MarkStarted() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.own
	now.Started = true
	return m.become(now)
}

// become writes what this drummer is; m.mu is held.
func (m *Members) become(now own) error {
	if err := m.store.saveOwn(now); err != nil {
		return err
	}
	m.own = now
	return nil
}

// Attach hands over what there is once the replica runs. Run comes after it.
func (m *Members) Attach(c Cluster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cluster = &c
}

// List of the drummers as this one knows it; empty before the first is written down.
func (m *Members) List() drummers.List {
	m.mu.Lock()
	defer m.mu.Unlock()
	return drummers.List{All: m.roster.GetDrummers()}
}

// attached returns what Attach gave; nil before.
func (m *Members) attached() *Cluster {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cluster
}

// self is what this drummer says of itself, with its number.
func (m *Members) self() *fleetpb.Drummer {
	d := proto.CloneOf(m.o.Self)
	d.Number = m.Number()
	return d
}

// take keeps a list that is newer than the one known, and learns the addresses in it. What
// another fleet's drummers say is dropped.
func (m *Members) take(r *drummerpb.Roster) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(r.GetDrummers()) == 0 || m.stranger(r.GetFleet()) || !newer(r, m.roster) {
		return nil
	}
	same := sameDrummers(r, m.roster)
	m.roster = r
	if same { // only the record has changed, which the disk need not know
		return nil
	}
	errs := []error{m.store.saveRoster(r)}
	for _, d := range r.GetDrummers() {
		errs = append(errs, m.learn(d, 0))
	}
	return errors.Join(errs...)
}

// stranger tells whether that fleet is another than this drummer's; m.mu is held.
func (m *Members) stranger(fleet string) bool {
	mine := m.roster.GetFleet()
	if m.cluster != nil {
		mine = m.cluster.Fleet
	}
	return fleet != "" && mine != "" && fleet != mine
}

func newer(a, b *drummerpb.Roster) bool {
	return cmp.Or(cmp.Compare(a.GetIncarnation(), b.GetIncarnation()), cmp.Compare(a.GetRevision(), b.GetRevision())) > 0
}

func sameDrummers(a, b *drummerpb.Roster) bool {
	return proto.Equal(&drummerpb.Roster{Fleet: a.GetFleet(), Drummers: a.GetDrummers()}, &drummerpb.Roster{Fleet: b.GetFleet(), Drummers: b.GetDrummers()})
}

// learn keeps where a member is. The record does not count starts: what it tells is epoch 0,
// which never overrides what the member said itself.
func (m *Members) learn(d *fleetpb.Drummer, epoch uint64) error {
	if d.GetRaft() == "" || d.GetHostId() == m.o.Self.GetHostId() {
		return nil
	}
	if err := m.o.Learn(ids.Host(d.GetHostId()), d.GetRaft(), epoch); err != nil {
		return fmt.Errorf("keep the address of drummer %d: %w", d.GetNumber(), err)
	}
	return nil
}
