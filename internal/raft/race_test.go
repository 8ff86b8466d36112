//go:build race

package raft

// hostTick is the tick of a test's hosts: a race detector's machine often stands still for
// longer than an election of short ticks takes.
const hostTick = 4 * testTick

// atOnce is how many tests run beside one another: under the race detector fewer, since
// elections have deadlines.
const atOnce = "2"
