// Package mutant plants bugs, so that the simulator can show that it finds them. In
// builds without the tag mutation it is a constant, and the compiler leaves out every
// bug: there is nothing of them in a program that anybody runs.
//
// A bug is planted where a careless change would have made it:
//
//	if mutant.Is("no-quorum-check") { … }
//
// List names all of them; make mutations runs each.
package mutant

// List names the bugs that can be planted.
func List() []string {
	return []string{
		"voter-first",         // a replica gets its vote before it has the data
		"no-quorum-check",     // a voter is removed whoever of the others lives
		"reused-id",           // a replica gets the number of the one that it replaces
		"restart-from-zero",   // a replica whose data is gone is launched again
		"no-settling",         // a new leader takes who has not connected yet for dead
		"wall-clock",          // silence is counted on a clock that people set
		"stale-view",          // a new leader plans on a record older than its leadership
		"two-changes",         // a change is ordered while another is on its way
		"destroy-by-group",    // a late order to destroy hits the group's next replica there
		"reported-membership", // a membership that nobody read linearizably is planned on
		"forgotten-observer",  // an observer is restarted as a voter
		"no-hysteresis",       // whoever is suspect is replaced
		"own-outage",          // a suspended leader takes its own absence for its hosts'
		"no-brake",            // hosts are replaced however many of them vanish at once
		"no-limits",           // as much is built at once as hosts can be chosen for
		"no-maintenance",      // a host that is away as was announced is replaced
		"tune-at-once",        // replicas are restarted with other Raft options whoever of the others runs
		"restless-balance",    // a difference of one between two hosts is evened out, for ever
		"no-damping",          // a host that comes and goes is given replicas at once
		"no-opinion",          // a host that its neighbours hear is replaced as if it were down
		"early-purge",         // the data of a banned group goes while another one is to be loaded from it
	}
}
