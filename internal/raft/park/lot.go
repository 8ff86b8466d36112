package park

import (
	"maps"
	"slices"
	"sync"
	"unique"

	"github.com/drumline/drumline/internal/ids"
)

// Settings are Raft options of one group; what is 0 is as the host has it. The JSON form is
// on disk.
type Settings struct {
	// SnapshotEntries is the least number of entries between snapshots.
	SnapshotEntries uint64 `json:"snapshot_entries,omitempty"`
	// ElectionTicks without a leader start an election; HeartbeatTicks are between two
	// heartbeats. Both are set, or none.
	ElectionTicks  uint32 `json:"election_ticks,omitempty"`
	HeartbeatTicks uint32 `json:"heartbeat_ticks,omitempty"`
}

// Record is what is kept of an unloaded replica: which it is, and what was last known
// of it, which nothing can change while it is unloaded.
type Record struct {
	Replica      ids.Replica
	Name         string
	Term         uint64
	ConfigChange uint64
	Applied      uint64
	Version      uint32
	Join         bool
	Observer     bool
	Opened       bool
	Sealed       bool
	// Settings that it was started with, and comes back with.
	Settings Settings
	// members are the voters, the first few of them and, seldom, more; the hosts' names are
	// shared by all records. A record of 128 bytes is in the table itself: as an object each
	// would keep a page of Go's heap in use, long after the replicas that it was made beside.
	members [inRecord]member
	more    *[]member
}

// inRecord is how many voters a record has room for.
const inRecord = 3

type member struct {
	id   ids.Replica
	host unique.Handle[ids.Host]
}

// SetVoters notes the group's voters.
func (r *Record) SetVoters(voters map[ids.Replica]ids.Host) {
	all := make([]member, 0, len(voters))
	for _, id := range slices.Sorted(maps.Keys(voters)) {
		all = append(all, member{id, unique.Make(voters[id])})
	}
	r.members, r.more = [inRecord]member{}, nil
	if n := copy(r.members[:], all); n < len(all) {
		rest := slices.Clone(all[n:])
		r.more = &rest
	}
}

// Voters are the group's voters; none if they were not known, as after a restart of
// the process.
func (r *Record) Voters() map[ids.Replica]ids.Host {
	out := make(map[ids.Replica]ids.Host, len(r.members))
	for _, m := range r.members {
		if m.id != 0 {
			out[m.id] = m.host.Value()
		}
	}
	if r.more == nil {
		return out
	}
	for _, m := range *r.more {
		out[m.id] = m.host.Value()
	}
	return out
}

// Lot holds the records of a host. All methods may be called at any time.
type Lot struct {
	mu      sync.RWMutex
	records map[ids.Group]Record
}

// NewLot makes an empty Lot.
func NewLot() *Lot { return &Lot{records: make(map[ids.Group]Record)} }

// Put keeps a copy of a record.
func (l *Lot) Put(g ids.Group, r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records[g] = *r
}

// Get returns a copy of a group's record, nil if there is none.
func (l *Lot) Get(g ids.Group) *Record {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, ok := l.records[g]
	if !ok {
		return nil
	}
	kept := r // so that nothing is allocated for one that is not here
	return &kept
}

// Remove drops a group's record.
func (l *Lot) Remove(g ids.Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.records, g)
}

// All lists the records; the map is the caller's.
func (l *Lot) All() map[ids.Group]Record {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return maps.Clone(l.records)
}
