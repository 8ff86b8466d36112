// Package machine is what a group's log means: the envelope of its entries, the
// adapter that applies them to a statemachines.Machine, and the snapshot of both.
//
// It is deterministic: the same entries give the same results, the same state and
// the same snapshot bytes on every replica. Entries and snapshots are on disk, so
// that their numbers never change meaning. No bytes make it panic but a snapshot of
// our own that does not decode, an index that goes back, and a behaviour version
// that the program does not know: going on would corrupt acknowledged state.
package machine
