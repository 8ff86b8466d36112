// Package localfleet runs a whole cluster as real processes on one machine: some
// drummers and nodehosts under one directory, each with its configuration, data
// and log. The playground is its face for people; chaos and the end-to-end tests
// kill, pause, wipe and restart its processes.
//
// The directory outlives the fleet: a second Open of it is a restart of the same
// cluster, on the same ports where they are still free. DIR/cluster.json lists
// the processes and is current after every change.
//
// A child never outlives the process that started it: on Linux the kernel kills
// it even if that one was killed with SIGKILL.
package localfleet
