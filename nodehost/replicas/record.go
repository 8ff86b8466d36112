package replicas

import (
	"cmp"
	"slices"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/replicas/life"
	"github.com/drumline/drumline/nodehost/replicas/tombs"
	"github.com/drumline/drumline/statemachines"
)

// Key names a replica.
type Key = tombs.Key

// Tombstone remembers a replica that was destroyed here.
type Tombstone = tombs.Stone

// KeyOf makes a Key of the wire's numbers.
func KeyOf(group, replica uint64) Key { return tombs.KeyOf(group, replica) }

// SortKeys sorts keys by group, then replica.
func SortKeys(keys []Key) { slices.SortFunc(keys, Key.Compare) }

// Record is one replica of the manifest. Its JSON form is on disk.
type Record struct {
	Group   ids.Group   `json:"group"`
	Replica ids.Replica `json:"replica"`
	// Name of the group, and its region where each has one of that name.
	Name   string `json:"name"`
	Region string `json:"region,omitempty"`
	// Join tells that it came as an observer; it is started as one for ever.
	Join bool `json:"join,omitempty"`
	// Members of the launch that it was part of.
	Members map[ids.Replica]ids.Host `json:"members,omitempty"`
	// Generation is the newest of the group that an order carried.
	Generation uint64    `json:"generation"`
	Life       life.Life `json:"life"`
	// Suspect tells that the process died while this one was starting, perhaps
	// because of it: it is started alone until it is ready once.
	Suspect bool `json:"suspect,omitempty"`
	// Crashes counts the deaths of the process while this one alone was starting.
	Crashes int `json:"crashes,omitempty"`
	// Tried is the version of the program that started it last in a trial.
	Tried string `json:"tried,omitempty"`
	// Unloaded tells that it was out of memory, waiting to be used, when this was
	// written. A hint: it saves the start at the next boot, and nothing rests on it.
	Unloaded bool `json:"unloaded,omitempty"`
	// Raft are the group's own settings, with which it is started.
	Raft raft.Settings `json:"raft,omitzero"`
	// Applied is how far the state is that was kept when it was retired.
	Applied uint64 `json:"applied,omitempty"`
}

// FullName is the group's name with its region.
func (r Record) FullName() string { return statemachines.NameIn(r.Name, r.Region) }

// KeptDown tells that the next start is a trial: the process died of the last ones. One that
// has come up since has no deaths counted.
func (r Record) KeptDown() bool {
	return r.Crashes >= maxCrashes && r.Life != life.Destroying && r.Life != life.Retired
}

// Key of the record.
func (r Record) Key() Key { return Key{Group: r.Group, Replica: r.Replica} }

// Fence is the newest supervisor obeyed.
type Fence struct {
	Incarnation uint64 `json:"incarnation"`
	Term        uint64 `json:"term"`
}

// Before tells whether f is older than o: a higher incarnation wins over any term.
func (f Fence) Before(o Fence) bool {
	return cmp.Or(cmp.Compare(f.Incarnation, o.Incarnation), cmp.Compare(f.Term, o.Term)) < 0
}

// Manifest is all that the room keeps on disk.
type Manifest struct {
	Fence      Fence
	Marker     []Key
	Records    map[Key]Record
	Tombstones map[Key]Tombstone
}

// Save is one durable change; exactly one field is set. The changes of one Step,
// and of all Steps of a driver's turn, are committed together before any other
// effect of that turn is done.
type Save struct {
	Record    *Record
	Drop      *Key
	Tombstone *Tombstone
	Forget    *Key
	Fence     *Fence
	// Marker replaces the marker; a pointer to nil clears it.
	Marker *[]Key
	// Hint: the change may be lost, so it may wait for others. Only of a Record.
	Hint bool
}
