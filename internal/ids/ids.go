// Package ids holds the types of the identities that travel through every room,
// so that the compiler rejects one taken for another.
package ids

// Group is a group's number, given by Drummer and never reused.
type Group uint64

// Replica is a replica's number, never reused in any group.
type Replica uint64

// Host is the id of a nodehost or drummer: random, made with its data directory.
type Host string

// DrummerGroup is the number of the drummers' own group, the fleet record. Groups
// of the fleet are numbered from FirstGroup on.
const (
	DrummerGroup Group = 1
	FirstGroup   Group = 1000
)

// Groups are group numbers as they come off the wire.
func Groups(numbers []uint64) []Group {
	groups := make([]Group, len(numbers))
	for i, n := range numbers {
		groups[i] = Group(n)
	}
	return groups
}
