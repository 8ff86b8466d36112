package hibernate

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/drumline/drumline/internal/ids"
)

// Group is what a host knows of the replica that it has of a group.
type Group struct {
	ID   ids.Group
	Self ids.Replica
	// Leader is a belief, 0 if there is none; asleep it may be long out of date.
	Leader ids.Replica
	// Voters and their hosts; without Self for an observer.
	Voters map[ids.Replica]ids.Host
}

// Act is what is done to a replica.
type Act uint8

// Acts.
const (
	None Act = iota
	Wake
	Stir
	// Stand is to stand for election at once if no leader is known; no Plan has it.
	Stand
)

// Move is an act, Turn election timeouts from now.
type Move struct {
	Act  Act
	Turn int
}

// Plan says what a replica does when a host goes down or has come up. up tells what
// this host thinks of the others.
func Plan(g Group, host ids.Host, isUp bool, up func(ids.Host) bool) Move {
	leaderAt := g.Voters[g.Leader]
	_, voter := g.Voters[g.Self]
	switch {
	case !has(g.Voters, host):
		return Move{}
	case g.Leader == g.Self:
		// It must tell the one that came, or find out whether it still has a quorum.
		return Move{Act: Wake}
	case leaderAt != "" && up(leaderAt):
		// If that one leads no more, this replica finds out within an election timeout.
		return Move{Act: Stir}
	case !voter:
		return Move{}
	case isUp:
		// Leaders elsewhere are woken now and speak first.
		return Move{Act: Wake, Turn: 1 + turn(g, up)}
	default:
		return Move{Act: Wake, Turn: turn(g, up)}
	}
}

func has(voters map[ids.Replica]ids.Host, host ids.Host) bool {
	for _, h := range voters {
		if h == host {
			return true
		}
	}
	return false
}

// turn is the number of voters that are up and come before this one. The order is
// one of hashes, so that hosts that disagree on who is up still agree on who comes
// first of any two, and the groups of a dead leader spread over the others.
func turn(g Group, up func(ids.Host) bool) int {
	own, n := weight(g.ID, g.Self), 0
	for id, h := range g.Voters {
		if id != g.Self && up(h) && weight(g.ID, id) < own {
			n++
		}
	}
	return n
}

// First returns the voter but Self that is the first to stand for election among
// those that are up; 0 if none is.
func First(g Group, up func(ids.Host) bool) ids.Replica {
	var first ids.Replica
	for id, h := range g.Voters {
		if id != g.Self && up(h) && (first == 0 || weight(g.ID, id) < weight(g.ID, first)) {
			first = id
		}
	}
	return first
}

func weight(g ids.Group, r ids.Replica) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], uint64(g))
	binary.LittleEndian.PutUint64(b[8:], uint64(r))
	h := fnv.New64a()
	_, _ = h.Write(b[:])
	// fnv's high bits hardly depend on the last bytes; this mixes them.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
