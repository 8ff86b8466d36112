// Package park is for replicas that were asleep for so long that their host has
// unloaded them, and for how they come back.
//
// A Lot keeps what a host has to know of an unloaded replica: a Record of some
// hundred bytes. A Crew loads the ones that are wanted, a few at a time, those that a
// caller waits for first. Rise decides, from what is known of a group and nothing
// else, how a group whose members were all unloaded gets a leader soon: it says when
// a replica that was just loaded calls its peers, which makes their hosts load theirs,
// and when it stands for election. A Vigil carries that out for all replicas of a host
// that are rising, in one goroutine.
//
// Nothing here knows dragonboat, and nothing here touches a replica's data: whether
// and how a replica is unloaded and loaded is package raft's.
package park
