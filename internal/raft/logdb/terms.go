package logdb

import (
	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"
)

// IterateEntries reads entries. dragonboat asks for one entry of no bytes when it wants to
// know its term and nothing else; such an entry is made up of index and term if the term is
// remembered. A look on the disk for it reads and checks a whole block, which the store does not keep.
//
//nolint:revive // dragonboat's interface has so many
func (s *Store) IterateEntries(to []pb.Entry, size, group, replica, low, high, maxSize uint64) ([]pb.Entry, uint64, error) {
	if maxSize > 0 || size > 0 || high != low+1 {
		return s.ILogDB.IterateEntries(to, size, group, replica, low, high, maxSize)
	}
	who := raftio.NodeInfo{ClusterID: group, NodeID: replica}
	term, changes := s.remembered(who, low)
	if term > 0 {
		return append(to, pb.Entry{Index: low, Term: term}), 0, nil
	}
	to, size, err := s.ILogDB.IterateEntries(to, size, group, replica, low, high, maxSize)
	if err == nil && len(to) > 0 {
		s.learn(who, to[len(to)-1:], changes)
	}
	return to, size, err
}

// remembered returns the term of an entry, 0 if it has to be looked up, and how often the
// log has changed.
func (s *Store) remembered(who raftio.NodeInfo, index uint64) (term, changes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of(who)
	return k.tail.term(index), k.changes
}

// learn notes an entry that was read when the log had changed that often: the last one of
// a replica that was just started, whose end nobody knows yet. What is older is asked for
// too rarely.
func (s *Store) learn(who raftio.NodeInfo, entry []pb.Entry, changes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of(who)
	if k.changes == changes && k.tail.n == 0 {
		k.tail.extend(entry)
	}
}
