// Package sim puts a cluster in virtual time (package cluster) to the test: the real
// fleet record, planner, leader's loop and host's replica logic, against simulated
// drummers, hosts, disks, links and Raft groups that obey Raft's membership rules. One
// seed decides everything, so the same Setup gives the same history, to the last message.
//
// It is driven by events. Nothing is stepped while nothing happens: when the whole
// cluster has been still for longer than its timers, time jumps to the next fault. All
// that the real code sees of time is unaware of the jump: a still cluster is after an
// hour what it was before, so hours cost milliseconds.
//
// After every step the promises of the supervisor are checked against what only the
// simulator knows: which disks have what, who leads, who hears whom. After the faults
// everything is healed; then the cluster must reach what is wanted, and move no more.
package sim
