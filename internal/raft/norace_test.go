//go:build !race

package raft

// atOnce is how many tests run beside one another: most wait more than they compute.
const atOnce = "3"
