// Package limit holds calls back so that they keep to a resource's capacity: Rate by
// calls a second, Adaptive too, which also sees how much is needed and asks for that, and
// InFlight by calls under way. Around them are interceptors for gRPC and a transport and a
// middleware for HTTP.
//
//	r, err := c.Resource("db/main")
//	a := limit.NewAdaptive(r)
//	defer a.Close()
//	err = a.Wait(ctx) // then make the call
//
// The capacity may change at any time, and ends with its lease; a limiter follows within
// the call that waits. Callers go in the order in which they came. While there is no
// capacity they wait, until their context ends; NoWait refuses them instead.
//
// # Exactness
//
// A Rate lets through what the capacity says, within 2 % or one call over ten seconds, at
// any rate: 25.45 calls a second are 254 or 255 in ten seconds. Calls that nobody makes
// are lost, but for a burst of ten milliseconds' worth (WithBurst).
//
// # Adaptive wants
//
// Adaptive counts calls as they are asked for, and asks for their recency-weighted mean
// over the last ten seconds and those that wait. If callers wait nearly all the time, the
// limit and not the callers decides how many calls there are. It then asks for more once a
// second: for twice, four, eight and sixteen times as much while it is granted all of that, so a
// newcomer has what is free after a few seconds; for half as much again as it has once it is not. Wants that were
// too high fall to what is needed when callers were not held up for three seconds.
package limit
