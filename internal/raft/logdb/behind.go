package logdb

import (
	"fmt"
	"math"

	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"
)

// Committed is the index up to which a replica that was started knows its log to be
// committed.
func (s *Store) Committed(group, replica uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.states[raftio.NodeInfo{ClusterID: group, NodeID: replica}]; k != nil {
		return k.latest.Commit
	}
	return 0
}

// Behind tells whether a machine to which the entry at applied was given last still has to
// get one at committed or before: a replica that was started has its state a little later.
// It looks from the end, because what is before the log's beginning is in the snapshot that
// the machine began with. Entries of Raft's own never come to machines.
func (s *Store) Behind(group, replica, applied, committed uint64) (bool, error) {
	for at := committed; at > applied; at-- {
		got, _, err := s.IterateEntries(nil, 0, group, replica, at, at+1, math.MaxUint64)
		if err != nil {
			return false, fmt.Errorf("read entry %d of group %d: %w", at, group, err)
		}
		if len(got) == 0 {
			return false, nil
		}
		if e := &got[0]; e.Type != pb.ConfigChangeEntry && len(e.Cmd) > 0 {
			return true, nil
		}
	}
	return false, nil
}
