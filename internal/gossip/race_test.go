//go:build race

package gossip

// fewer is how many times fewer members a crowd has: the race detector makes them slow, and
// finds in some what it finds in many.
const fewer = 4
