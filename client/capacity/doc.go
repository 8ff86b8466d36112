// Package capacity leases shares of resources: what a whole world of clients may do
// together, a thousand calls a second to a database for example, is divided among them by
// the cluster, and each client keeps to its share by itself. No call of the application
// waits for a server.
//
// Programs that have a client.Client get resources from it (client.Client.Resource); New
// is for those that bring a connection of their own, to an original Doorman for example.
//
//	r, err := c.Resource("db/main", capacity.WithWants(100))
//	defer r.Release()
//	err = r.Await(ctx)            // for the first lease
//	now := r.State().Capacity     // what may be used
//	for s := range r.Changes() {} // each change of it
//
// Package limit turns a resource into a limiter of calls.
//
// # Leases
//
// A lease is asked for again long before it ends, all resources of a client in one
// request as far as they are due. It is counted from before its request was sent, on the
// monotonic and on the wall clock, whichever says first that it is over, and 2 % and 50 ms
// of it are never used: clocks run at different speeds. Answers of requests that were
// given up, and answers older than what is held, are dropped.
//
// SetWants limits the client to lower wants before they are sent. The server may then
// give the difference away at once, whether or not its answer arrives.
//
// # Without a server
//
// When a lease ends and no server has answered, the resource falls to its safe capacity:
// what the server said last, or what the application chose (WithFallback). The client
// goes on asking, and no more often than it does when all is well.
//
// # What it never does
//
// It never uses more than what was granted, says or does the server what it will: a
// negative grant is none, and one above the wants is cut to them. It never has two
// requests for a resource under way. It leaves no goroutine behind after Close.
package capacity
