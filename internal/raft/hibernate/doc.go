// Package hibernate wakes groups. With dragonboat's Quiesce an idle group sends no
// heartbeats, so that none of its replicas notices when the leader is gone: it would
// sleep without a leader for ever.
//
//	w := hibernate.New(hibernate.Options{Self: host, Transport: t, Replicas: r, ...})
//	w.Start()
//	w.Meet(group) // its membership is known, or another one
//	w.Close()
//
// # Design
//
// Instead of groups hosts beat: one heartbeat per pair (transport.Heartbeat). A host is
// down when nothing of it was heard for an election timeout, or at once when its
// connections are closed and nobody listens at its address; a host whose process is
// another one was down and is up (watch.go).
//
// Whenever a host goes down or comes up, every group with a voter there moves on every
// host that has a replica of it, as plan.go says. Each host decides for itself, from
// what it believes, and what it does is harmless if it is wrong:
//
//   - Wake: the replica is awake from now on. A leader heartbeats, so all of its group
//     wakes. Another voter stands for election at its next tick if it has heard no
//     leader for an election timeout, which after a sleep is the rule.
//   - Stir: a follower behaves as if its leader had just been heard: it wakes, has a
//     full election timeout before it stands for election, and its answer wakes the
//     leader, if there is one.
//
// When a leader's host is down one voter is woken at once, which is elected before the
// others move; they are woken an election timeout apart, in an order that all hosts
// know and that differs from group to group. Many groups are spread over half an
// election timeout: a thousand elections at one tick would hinder each other.
//
// A replica that starts asks its group's voters who leads (ask): the leader wakes and
// is heard before the newcomer's election timeout is over. What got lost on any of
// these ways is found by a look at all replicas every ten election timeouts: voters
// that know no leader are woken again. Commands and reads stir their replica; Epoch
// says how often that is worth while.
package hibernate
