// Package cluster is the cluster in virtual time that package sim puts to the test: the
// clockwork, the hosts, disks, links, streams and Raft groups, which are simulated, and
// the record, the loop and the hosts' replica logic, which are real. Faults come from
// outside, through what it exports. It judges only what its Raft cannot allow; all else
// that must keep a promise is shown to a Witness.
package cluster
