package logdb

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"
)

// Store passes everything on to dragonboat's log store but states in which only the
// commit index is new, and questions for terms that it remembers.
type Store struct {
	raftio.ILogDB

	// scratch, one per worker of dragonboat's, is the updates that go to the disk; only
	// that worker touches it.
	scratch [][]pb.Update
	// round is told of each round of a worker.
	round atomic.Pointer[func(worker uint64)]

	// mu guards states; never held while the disk is waited for.
	mu     sync.Mutex
	states map[raftio.NodeInfo]*known
	// room is for more of them: many in one object, because each of their own would keep a
	// page of Go's heap in use. spare are those that were forgotten.
	room  []known
	spare []*known
}

// rooms is how many states are made at a time.
const rooms = 256

// known is what is known of a replica's state.
type known struct {
	// saved is the state on disk, latest the one that dragonboat gave last.
	saved, latest pb.State
	// tail is of entries that are on disk. changes counts what may have made it another
	// one: what was read from the disk meanwhile is not believed.
	tail    tail
	changes uint64
}

// New makes a Store before another one, which it closes. workers is the number of
// dragonboat's step workers: each group has one, by its number.
func New(inner raftio.ILogDB, workers uint64) *Store {
	return &Store{ILogDB: inner, scratch: make([][]pb.Update, workers), states: make(map[raftio.NodeInfo]*known)}
}

// OnRound has f called in each round of a worker, by that one: they save in each, even if
// there is nothing.
func (s *Store) OnRound(f func(worker uint64)) { s.round.Store(&f) }

// SaveRaftState makes durable what must be. Workers call it side by side, each with
// its own number, from 1 up.
func (s *Store) SaveRaftState(updates []pb.Update, worker uint64) error {
	if f := s.round.Load(); f != nil {
		(*f)(worker)
	}
	out := s.take(updates, s.scratch[worker-1][:0])
	s.scratch[worker-1] = out
	if len(out) == 0 {
		return nil
	}
	defer clear(out) // they hold entries
	if err := s.ILogDB.SaveRaftState(out, worker); err != nil {
		return err
	}
	s.wrote(out)
	return nil
}

// take notes the updates' states and appends to out the updates that must be saved,
// each with its replica's latest state.
func (s *Store) take(updates, out []pb.Update) []pb.Update {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range updates {
		u := &updates[i]
		k := s.of(raftio.NodeInfo{ClusterID: u.ClusterID, NodeID: u.NodeID})
		if !pb.IsEmptyState(u.State) {
			k.latest = u.State
		}
		if !k.mustSave(u) {
			continue
		}
		k.begin(u)
		out = append(out, *u)
		out[len(out)-1].State = k.latest
	}
	return out
}

// of returns what is known of a replica; mu is held.
func (s *Store) of(who raftio.NodeInfo) *known {
	k := s.states[who]
	if k == nil {
		k = s.vacant()
		s.states[who] = k
	}
	return k
}

// vacant returns the state of nobody; mu is held.
func (s *Store) vacant() *known {
	if n := len(s.spare); n > 0 {
		k := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return k
	}
	if len(s.room) == 0 {
		s.room = make([]known, rooms)
	}
	k := &s.room[0]
	s.room = s.room[1:]
	return k
}

// begin forgets the terms of entries that an update is about to replace.
func (k *known) begin(u *pb.Update) {
	k.changes++
	switch {
	case !pb.IsEmptySnapshot(u.Snapshot): // the log begins anew behind it
		k.tail = tail{}
	case len(u.EntriesToSave) > 0:
		k.tail.cut(u.EntriesToSave[0].Index)
	}
}

// mustSave tells whether an update of that replica must be on disk before dragonboat
// goes on.
func (k *known) mustSave(u *pb.Update) bool {
	switch {
	case len(u.EntriesToSave) > 0, !pb.IsEmptySnapshot(u.Snapshot):
		return true
	case pb.IsStateEqual(k.latest, k.saved):
		return false
	case k.latest.Term != k.saved.Term, k.latest.Vote != k.saved.Vote:
		return true
	}
	return slices.ContainsFunc(u.CommittedEntries, func(e pb.Entry) bool { return e.Type == pb.ConfigChangeEntry })
}

// wrote notes that those updates are on disk.
func (s *Store) wrote(updates []pb.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range updates {
		u := &updates[i]
		k := s.of(raftio.NodeInfo{ClusterID: u.ClusterID, NodeID: u.NodeID})
		k.saved = u.State
		k.changes++
		if len(u.EntriesToSave) > 0 {
			k.tail.extend(u.EntriesToSave)
		}
	}
}

// ReadRaftState returns a replica's state when it is started. Its commit index is at
// least that of its snapshot, because only what is committed is ever in one; and
// what was known when it was stopped in this process is not forgotten.
func (s *Store) ReadRaftState(group, replica, snapshot uint64) (raftio.RaftState, error) {
	rs, err := s.ILogDB.ReadRaftState(group, replica, snapshot)
	if err != nil {
		return rs, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of(raftio.NodeInfo{ClusterID: group, NodeID: replica})
	k.tail = tail{}
	k.changes++
	k.saved = rs.State
	if !pb.IsEmptyState(rs.State) {
		rs.State.Commit = max(rs.State.Commit, snapshot)
		if k.latest.Term == rs.State.Term && k.latest.Vote == rs.State.Vote {
			rs.State.Commit = max(rs.State.Commit, k.latest.Commit)
		}
	}
	k.latest = rs.State
	return rs, nil
}

// RemoveNodeData removes a replica's data for ever.
func (s *Store) RemoveNodeData(group, replica uint64) error {
	s.forget(group, replica)
	return s.ILogDB.RemoveNodeData(group, replica)
}

// ImportSnapshot replaces a replica's data by a snapshot.
func (s *Store) ImportSnapshot(snapshot pb.Snapshot, replica uint64) error {
	s.forget(snapshot.ClusterId, replica)
	return s.ILogDB.ImportSnapshot(snapshot, replica)
}

func (s *Store) forget(group, replica uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := raftio.NodeInfo{ClusterID: group, NodeID: replica}
	if k := s.states[who]; k != nil {
		*k = known{}
		s.spare = append(s.spare, k)
		delete(s.states, who)
	}
}

// Close writes the states that were held back, so that an orderly restart begins
// where the process stopped, and closes the store. dragonboat's workers have ended.
func (s *Store) Close() error {
	err := s.flush()
	if err != nil {
		err = fmt.Errorf("write how far the groups have committed: %w", err)
	}
	return errors.Join(err, s.ILogDB.Close())
}

// flush writes what was held back, one batch per worker.
func (s *Store) flush() error {
	batches := make([][]pb.Update, len(s.scratch))
	for who, k := range s.states {
		if pb.IsStateEqual(k.latest, k.saved) {
			continue
		}
		w := who.ClusterID % uint64(len(batches))
		batches[w] = append(batches[w], pb.Update{ClusterID: who.ClusterID, NodeID: who.NodeID, State: k.latest})
	}
	for w, batch := range batches {
		if len(batch) == 0 {
			continue
		}
		if err := s.ILogDB.SaveRaftState(batch, uint64(w)+1); err != nil {
			return err
		}
	}
	return nil
}
