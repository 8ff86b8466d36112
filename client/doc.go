// Package client is the Go client of a Drumline cluster: what applications use, and
// drummer-cmd, bench and the tests too. It knows nothing of Raft.
//
// # Opening
//
// Open takes addresses of gRPC ports, of drummers, of nodehosts or of both, and learns
// all other servers from whichever answers. One that answers is enough; naming two or
// three is wise, for they are also what is asked again when everything else is gone.
// A Client is meant to live as long as its program, and is shared by its goroutines.
//
//	c, err := client.Open(ctx, []string{"10.0.0.1:7001", "10.0.0.2:7001"}, client.WithTLS(tls))
//	defer c.Close()
//
// # Groups
//
// Group names a group; it asks nobody. Propose gives the group's state machine a
// command, Read a query; both are bytes in the app's own encoding. Any nodehost answers
// for any group. The client remembers from the answers where each group is led, so that
// most calls make one hop, and asks others when that host is gone.
//
//	g := c.Group("kv/demo")
//	res, err := g.Propose(ctx, command)
//	data, err := g.Read(ctx, query)
//
// Calls made at the same time share a stream to the host that leads their groups, by
// themselves: the more there are, the less each costs. WithUnary switches that off. Who
// has many commands or queries at hand gives them to ProposeBatch or ReadBatch:
//
//	answers, err := g.ProposeBatch(ctx, commands) // one Answer for each command
//	data, err := g.ReadBatch(ctx, queries)        // all of one state
//
// KV speaks to groups of app kv with keys and values. Sequence hands out the numbers of a
// group of app sequence, see package client/sequence:
//
//	orders := c.Sequence("sequence/orders")
//	defer orders.Close()
//	id, err := orders.Next(ctx)
//
// GapFree, TimeIDs and Timestamps are for sequences of those modes. Tests of programs that
// use this package start a cluster with package client/clienttest.
//
// Counter counts on a group of app counter, see package client/counter:
//
//	hits := c.Counter("counter/hits")
//	value, err := hits.Add(ctx, 1) // exactly once
//
// Each region may have a group of the same name; In leads to those of one region:
//
//	id, err := c.In("ord").Sequence("sequence/orders").Next(ctx)
//
// # Deadlines and retries
//
// A call ends with its context, after ten seconds if the context has no deadline.
// Within that time it is tried again, at other servers, with growing pauses, as long as
// it was surely not applied. The retries of all calls draw on one budget of a fifth of
// their number; when it is empty, each waits a second before it tries again, so that a
// cluster in trouble is not buried.
//
// # Errors
//
// Every error is an *Error. Its Reason says what is wrong, its Text what to do, and its
// Outcome whether a command may have been applied:
//
//   - NotApplied: it was not, and never will be. Doing it again is safe.
//   - Unknown: it may be applied, now or a little later. The client does not repeat it;
//     only the application can tell whether that is right.
//
// A Session removes the second kind for as long as its group answers within the
// deadline: commands proposed through it are applied exactly once, so the client repeats
// them itself.
//
//	s, err := g.Session(ctx)
//	defer s.Close(ctx)
//	res, err := s.Propose(ctx, command)
//
// # Operators
//
// Drummer returns the operators' service. Its calls follow the drummer that leads.
// Those that only read are repeated at will; those that change something only when
// they surely were not obeyed.
package client
