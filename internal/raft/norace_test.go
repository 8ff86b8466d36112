//go:build !race

package raft

// hostTick is the tick of a test's hosts.
const hostTick = testTick

// atOnce is how many tests run beside one another: most wait more than they compute.
const atOnce = "3"
