// Package raft runs the Raft groups of one host. It is the only room that knows
// dragonboat, whose words (cluster, node, node host) are translated here, once,
// into the project's (group, replica, host).
//
// What it adds to dragonboat: one adapter that makes any statemachines.Machine a
// replicated one; an entry envelope with the leadership's term and the lease clock
// (DESIGN.md, and docs/design.md §5); a life that goes through the group's own log
// (nothing is obeyed before Open, nothing after Seal); coalescing of commands into
// entries; membership changes that are read before and after; and every trap of
// dragonboat v3.3.8 closed before a caller can step into it.
//
// It must never acknowledge a command that the log does not hold, never report a
// command as not applied that may have been, and never let a machine's time run
// faster than real time.
//
//	t, err := transport.New(transport.Options{Host: id, ...})
//	h, err := raft.Open(raft.Options{Host: id, Dir: dir, Transport: t, Apps: apps, Log: log})
//	defer h.Close()
//	err = h.Start(ctx, raft.Replica{Group: 1000, ID: 7, Name: "kv/demo", Members: members})
//	err = h.OpenGroup(ctx, 1000, 1)  // on the leader's host
//	res, err := h.Propose(ctx, 1000, cmd)
package raft
