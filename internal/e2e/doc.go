// Package e2e holds the end-to-end tests: real processes, real Raft, real kill -9,
// with the deadlines that a fleet keeps. They are behind build tags, as they take
// minutes and want the machine for themselves: `make e2e` runs the short ones,
// `make e2e-long` those that take long. Both build the programs first.
package e2e
