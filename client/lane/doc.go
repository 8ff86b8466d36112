// Package lane shares one Groups.Stream to a host among all calls that go there: what
// waits while a frame is on its way travels together in the next one, sorted into lots
// by group. So a call costs a fraction of one of its own, and the host gets what
// belongs together together. Clients use it, and hosts that forward.
//
//	l := lane.New(conn)
//	defer l.Close()
//	answer, where, err := l.One(ctx, lane.Head{Group: ref}, command)
//
// A Lane opens its stream with the first call, and another one when that has ended. It
// repeats nothing: an error is a *Lost, which says whether the items may have reached
// the host. What the host itself says of an item is the Fault of its Answer.
package lane
