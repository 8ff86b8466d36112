// Package route makes any host answer for any group. It serves what this host
// leads, forwards the rest to the leader's host, and follows a leader change within
// the caller's deadline.
//
// # Where a group is
//
// A request names its group by name or by number. A local open replica is the best
// answer; next comes the directory, a set of hints kept on disk in a bbolt bucket,
// written lazily: losing it costs questions, not correctness. What neither knows is
// asked of a drummer through Locator, once for all callers who want the same, and
// "there is no such group" is believed for a second. A name that is used and has no group
// may get one by a template of its app: the drummer is asked to make it, and the request
// waits, within its deadline, until the group is open. With no drummer in sight every
// group that the directory knows still works.
//
// A name may have had an older group. So of several groups of one name the highest
// number wins, and when the group that a name led to turns out to be sealed or gone,
// the hint is dropped and a drummer is asked once more; only then is the caller told.
//
// # What is retried
//
// A Router retries what was surely not applied (no leader, not open yet, a host that
// cannot be reached), with pauses, until a little before the caller's deadline: the
// margin is what lets a plain sentence arrive instead of a dead call. An unknown
// outcome of a proposal is never retried, unless its app says that applying it twice does
// no harm (Many.Repeatable). Reads change nothing and are retried at will.
//
// A request that was forwarded here (hops > 0) is served or passed on once, and never
// retried: the host that the client asked keeps the overview. No request makes more
// than three hops.
//
// # Many at once
//
// ProposeMany and ReadMany take items of one group through the same search: each try is
// about those that are not settled yet, each item has an outcome of its own. Requests
// for another host share one stream to it.
//
//	r := route.New(route.Options{Self: id, Raft: raftHost, Local: replicas, Locator: agent, Pool: pool, DB: db, API: agent.API, Log: log})
//	defer r.Close()
//	resp, err := r.Propose(ctx, &hostpb.ProposeRequest{Group: &hostpb.GroupRef{Name: "kv/demo"}, Command: cmd})
//
// All methods may be called from any goroutine. Errors are *fault.Error.
package route
