// Package replicas knows which replicas live on this host. Its manifest, in the
// host's database, is the truth: a host restarts what the manifest lists with no
// Drummer in sight, and nothing else ever starts a replica.
//
// Core decides. It is pure: Step(event, now) returns effects, reads no clock and
// does no I/O, so that it runs in virtual time. Keeper is the driver around it: it
// commits what a turn wants saved in one synced transaction, and only then does
// the rest, with bounded parallelism. That order is the safety of this room:
//
//   - a replica is in the manifest before it can run, so a crash never leaves a
//     vote that the host has forgotten;
//   - its record is dropped only after its data is gone, and leaves a tombstone, so
//     that a late Start never makes a burnt id vote again;
//   - an order is obeyed only when it is not older than the newest one obeyed.
//
// A start that takes the whole process down (dragonboat panics on a damaged
// replica) is survived by a marker: the keys about to be started are saved first
// and cleared when they are ready (of one that is loaded after a sleep the record says so). What a crash leaves in the marker is started
// alone next time, and kept down once it has crashed the process twice that way.
//
// Replicas are destroyed by an order only. Unknown is never destroyed.
package replicas
