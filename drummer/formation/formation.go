// Package formation brings the drummers' own group into being, once, and lets its
// members find each other ever after.
//
// A Raft group must be started with the same first members everywhere. Drummers
// know each other by configuration only as addresses; who they are (a host id,
// made with the data directory) they ask each other through the Formation service,
// until all have answered. Drummer 1 alone decides: when every other one is new
// too, it writes the map index → host id to its disk. The others take the map over
// from any drummer that has it. So there is one writer, and a kill at any point
// leaves either no map or the one map.
//
// A drummer that finds the map with another host id under its index has lost its
// disk: it may have voted under the id in the map, and would forget that vote.
// Agree returns a LostError then, and the drummer must not start.
//
// The map stays as it was formed. Who belongs to the group later, and where they are, is
// package members' to know.
package formation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/grpc"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
)

// Members is the map that the drummers' group is formed with: index to host id.
type Members map[int]ids.Host

// Identity is what one drummer tells the others of itself.
type Identity struct {
	// Index among the configured drummers, from 1.
	Index int
	// Host is the id of its data directory.
	Host ids.Host
	// BootEpoch counts its starts.
	BootEpoch uint64
	// Raft is the address of its Raft port.
	Raft string
	// Name and Region are for people.
	Name, Region string
}

// Options are what a Formation needs; all but Retry are required.
type Options struct {
	// Deployment that every drummer must share.
	Deployment string
	// Self is this drummer.
	Self Identity
	// Drummers are the gRPC addresses of all drummers, by index - 1.
	Drummers []string
	// DB keeps the map; it belongs to the caller.
	DB *bbolt.DB
	// Learn is told the Raft addresses of members.
	Learn func(h ids.Host, raft string, epoch uint64) error
	// Conn returns a connection to an address; it belongs to the callee.
	Conn func(address string) (grpc.ClientConnInterface, error)
	// Fleet is that of the record that the group is to go on with, from a seed; empty
	// for a new record. Drummer 1 decides.
	Fleet string
	// Retry is the pause between rounds of questions; 0 means half a second.
	Retry time.Duration
	Log   *slog.Logger
}

const (
	defaultRetry = 500 * time.Millisecond
	askTimeout   = 2 * time.Second
)

// Formation answers and asks. It is safe for concurrent use.
type Formation struct {
	drummerpb.UnimplementedFormationServer
	o     Options
	store store

	mu      sync.Mutex
	members Members           // nil while new
	fleet   string            // of the record to go on with; empty for a new one
	heard   map[int]statement // what others said of themselves in their questions
	count   uint64            // numbers the statements that changed something
	peers   map[int]Identity  // newest identity of each other member
}

// statement is the id that a drummer gave in a question, and when in our own count.
type statement struct {
	host ids.Host
	at   uint64
}

// LostError says that the group was formed with another host id at this index.
type LostError struct {
	Index     int
	Was, Is   ids.Host
	Drummers  int
	Told      string // address that told, or "its own disk"
	otherSize bool
}

// Error says what happened and how to go on.
func (e *LostError) Error() string {
	if e.otherSize {
		return fmt.Sprintf("the drummers' group was formed with another number of drummers than the %d that the configuration lists (%s says so): "+
			"give every drummer the list that the group was formed with", e.Drummers, e.Told)
	}
	return fmt.Sprintf("the drummers' group was formed with host %s as drummer %d, and this data directory is host %s (%s says so). "+
		"The disk of drummer %d was lost or another directory is configured, and its old identity can't vote again: a vote that it forgot could elect two leaders. "+
		"Put the old data directory back if it still exists (not a copy made while it ran); else start this drummer with --join and this empty directory, "+
		"and run drummer-cmd servers replace %d with its address: it gets a number of its own. "+
		"Until then the others go on as long as more than half of all drummers run", e.Was, e.Index, e.Is, e.Told, e.Index, e.Index)
}

// New reads what is on disk and checks it against the configuration.
func New(o Options) (*Formation, error) {
	if o.Self.Index < 1 || o.Self.Index > len(o.Drummers) {
		return nil, fmt.Errorf("drummer index %d is not among the %d configured drummers", o.Self.Index, len(o.Drummers))
	}
	if o.Retry == 0 {
		o.Retry = defaultRetry
	}
	f := &Formation{o: o, store: store{o.DB}, heard: map[int]statement{}, peers: map[int]Identity{}}
	members, fleet, peers, err := f.store.load()
	if err != nil {
		return nil, err
	}
	f.fleet = fleet
	if members != nil {
		// Drummers may have come and gone since: the configuration may list others now.
		if was := members[o.Self.Index]; was != o.Self.Host {
			return nil, &LostError{Index: o.Self.Index, Was: was, Is: o.Self.Host, Drummers: len(o.Drummers), Told: "its own disk"}
		}
	}
	f.members = members
	maps.Copy(f.peers, peers)
	return f, nil
}

// Agree blocks until the map is known and returns it. A *LostError is final.
func (f *Formation) Agree(ctx context.Context) (Members, error) {
	for said := ""; ; {
		if m, ok := f.Members(); ok {
			return m, nil
		}
		missing, err := f.round(ctx)
		if err != nil {
			return nil, err
		}
		if missing != nil && missing.Error() != said {
			said = missing.Error()
			f.o.Log.Info("waiting for the other drummers", "drummers", len(f.o.Drummers), "missing", said)
		}
		if _, ok := f.Members(); ok {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("form the drummers' group: %w", errors.Join(ctx.Err(), missing))
		case <-time.After(f.o.Retry):
		}
	}
}

// Members returns the map, and whether it is known yet.
func (f *Formation) Members() (Members, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.members), f.members != nil
}

// Fleet identifies the record of the group, once it is formed: a new one by the ids of its
// members, one that goes on by the fleet that it had; seeded tells that it goes on.
func (f *Formation) Fleet() (fleet string, seeded bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fleet != "" {
		return f.fleet, true
	}
	return f.members.Fleet(), false
}

// checkFleet refuses a map of a group that goes on with another record than ours.
func (f *Formation) checkFleet(fleet, told string) error {
	if f.o.Fleet == "" || fleet == f.o.Fleet {
		return nil
	}
	return fmt.Errorf("the seed of this drummer is of fleet %s, and the drummers' group was formed for %q (%s says so): "+
		"give every drummer an empty data directory and the same seed", f.o.Fleet, fleet, told)
}

// Peer returns what is known of a drummer; only Index and Host are certain.
func (f *Formation) Peer(index int) Identity {
	if index == f.o.Self.Index {
		return f.o.Self
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.peers[index]
	p.Index, p.Host = index, f.members[index]
	return p
}

// checkMine tells whether the map lists this drummer as it is.
func (f *Formation) checkMine(m Members, told string) error {
	e := &LostError{Index: f.o.Self.Index, Was: m[f.o.Self.Index], Is: f.o.Self.Host, Drummers: len(f.o.Drummers), Told: told}
	e.otherSize = len(m) != len(f.o.Drummers)
	if e.otherSize || e.Was != e.Is {
		return e
	}
	return nil
}
