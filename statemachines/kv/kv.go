// Package kv is the key-value app: keys in byte order, each with the revision of
// its last change, so that clients can compare and set.
//
// Commands and queries are the protobuf messages of drummerpb/kv, so a raw
// Propose or Read works from any language. A command that cannot be read, names
// no operation or several, or breaks a limit changes nothing and is answered
// OUTCOME_INVALID with a sentence; a query like that is refused with an error
// that wraps statemachines.ErrInvalidQuery.
//
// The machine's revision counts its changes: a put, a successful compare-and-set
// and the deletion of a key that was there. Nothing else of its history is kept,
// so a snapshot depends on the keys and that number alone.
package kv

import (
	"bytes"
	"io"

	"github.com/google/btree"

	"github.com/drumline/drumline/statemachines"
)

// Name is the app's name: its groups are called kv/something.
const Name = "kv"

// Version is the behaviour version of this program's kv.
const Version = 1

// Limits, in bytes and in entries. They are part of the behaviour version: two
// hosts with different limits would apply one command differently.
const (
	MaxKey       = 4096
	MaxValue     = 1 << 20
	MaxPage      = 1000
	DefaultPage  = 100
	MaxPageBytes = 3 << 20
)

// degree of the tree: nodes of 64 to 127 entries keep both copying on write and
// searching cheap.
const degree = 64

// App is the kv app, for a Registry.
func App() statemachines.App {
	return statemachines.App{
		Name:    Name,
		Version: Version,
		New:     func(statemachines.Group) statemachines.Machine { return New() },
	}
}

// entry is one key. Its slices are never written again once it is in the tree:
// frozen views and answers share them.
type entry struct {
	key, value []byte
	revision   uint64
}

func less(a, b entry) bool { return bytes.Compare(a.key, b.key) < 0 }

// Machine is the state of one kv group.
type Machine struct {
	tree     *btree.BTreeG[entry]
	revision uint64
}

var _ statemachines.Machine = (*Machine)(nil)

// New makes an empty Machine.
func New() *Machine { return &Machine{tree: btree.NewG(degree, less)} }

// Apply implements statemachines.Machine.
func (m *Machine) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i := range batch {
		results[i] = m.apply(batch[i].Data)
	}
}

// Snapshot implements statemachines.Machine; it takes O(1).
func (m *Machine) Snapshot() statemachines.View {
	return &view{tree: m.tree.Clone(), revision: m.revision}
}

// Recovered implements statemachines.Machine. Keys carry nothing of a
// generation: revisions go on where they were, so none is given out twice for
// different values of one life.
func (m *Machine) Recovered(uint64) {}

func (m *Machine) get(key []byte) (entry, bool) { return m.tree.Get(entry{key: key}) }

// view is a frozen Machine.
type view struct {
	tree     *btree.BTreeG[entry]
	revision uint64
}

// Close implements statemachines.View.
func (v *view) Close() { v.tree = nil }

// WriteTo implements statemachines.View.
func (v *view) WriteTo(w io.Writer) (int64, error) { return write(w, v.tree, v.revision) }
