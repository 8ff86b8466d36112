package kv

import (
	"bytes"
	"io"

	"github.com/google/btree"

	"github.com/drumline/drumline/statemachines/snapshot"
)

// format is the version of the snapshot's format: revision, number of keys, then
// for each key in order key, value, revision. A new format gets the next number
// and Restore goes on reading this one.
const format = 1

func write(w io.Writer, tree *btree.BTreeG[entry], revision uint64) (int64, error) {
	s := snapshot.NewWriter(w, Name, format)
	s.Uvarint(revision)
	s.Uvarint(uint64(tree.Len())) //nolint:gosec // a length
	tree.Ascend(func(e entry) bool {
		s.Bytes(e.key)
		s.Bytes(e.value)
		s.Uvarint(e.revision)
		return s.Err() == nil
	})
	return s.Close()
}

// Restore implements statemachines.Machine.
func (m *Machine) Restore(r io.Reader) error {
	s, err := snapshot.NewReader(r, Name, format)
	if err != nil {
		return err
	}
	revision := s.Uvarint()
	tree := btree.NewG(degree, less)
	var last []byte
	for n := s.Uvarint(); n > 0 && s.Err() == nil; n-- {
		e := entry{key: s.Bytes(MaxKey), value: s.Bytes(MaxValue), revision: s.Uvarint()}
		if bytes.Compare(e.key, last) <= 0 || e.revision == 0 || e.revision > revision {
			s.Reject("a key is out of order or newer than the whole")
			break
		}
		tree.ReplaceOrInsert(e)
		last = e.key
	}
	if err := s.Close(); err != nil {
		return err
	}
	m.tree, m.revision = tree, revision
	return nil
}
