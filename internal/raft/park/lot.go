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
	// SnapshotEntries is the number of entries between snapshots.
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
	// members are the voters; the hosts' names are shared by all records.
	members []member
}

type member struct {
	id   ids.Replica
	host unique.Handle[ids.Host]
}

// SetVoters notes the group's voters.
func (r *Record) SetVoters(voters map[ids.Replica]ids.Host) {
	r.members = make([]member, 0, len(voters))
	for _, id := range slices.Sorted(maps.Keys(voters)) {
		r.members = append(r.members, member{id, unique.Make(voters[id])})
	}
}

// Voters are the group's voters; none if they were not known, as after a restart of
// the process.
func (r *Record) Voters() map[ids.Replica]ids.Host {
	out := make(map[ids.Replica]ids.Host, len(r.members))
	for _, m := range r.members {
		out[m.id] = m.host.Value()
	}
	return out
}

// Lot holds the records of a host. All methods may be called at any time.
type Lot struct {
	mu      sync.RWMutex
	records map[ids.Group]*Record
}

// NewLot makes an empty Lot.
func NewLot() *Lot { return &Lot{records: make(map[ids.Group]*Record)} }

// Put keeps a record, which nobody changes any more.
func (l *Lot) Put(g ids.Group, r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records[g] = r
}

// Get returns a group's record, nil if there is none.
func (l *Lot) Get(g ids.Group) *Record {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.records[g]
}

// Remove drops a group's record.
func (l *Lot) Remove(g ids.Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.records, g)
}

// All lists the records; the map is the caller's.
func (l *Lot) All() map[ids.Group]*Record {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return maps.Clone(l.records)
}
