//go:build race

package raft

// atOnce is how many tests run beside one another: under the race detector each needs
// the cores for itself, since elections have deadlines.
const atOnce = "1"
