// Package logdb stands between dragonboat and its log store and spares half of the
// fsyncs: those that would only make durable how far a group has committed.
//
// dragonboat writes a replica's state (term, vote, commit index) and waits for the
// disk whenever any of it has changed; so every proposal costs each replica two
// fsyncs, one for the entry and one for the news that it is committed. Raft needs
// only term, vote and entries to be durable (Ongaro's thesis, figure 3.1; etcd's raft
// calls it MustSync): an entry that a quorum has stays committed whether or not
// anybody remembers it, and whoever leads next finds that out. So a change of
// nothing but the commit index is kept in memory and written with whatever the
// replica writes next, or when the store is closed.
//
// What goes to the disk as it always did: entries, snapshots, terms, votes, and the
// commit of a membership change, because a replica that forgot one could count the
// votes of a membership that is no more.
//
// After a crash a replica therefore may know of fewer committed entries than it had
// applied. It has them all in its log, and applies them again when its leader says so.
//
// It also remembers the terms at the end of each log, for which dragonboat would read the
// disk at every vote of a replica that was just started.
package logdb
