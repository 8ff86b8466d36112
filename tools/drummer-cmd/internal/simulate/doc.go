// Package simulate runs scenarios of a tree of resources and their clients on the
// real machine in virtual time: what is wanted, leased and used, and what happens
// when leaders are lost.
//
// A server is the group of one resource; one with a parent leases its capacity from
// it for all its clients, as the leader of such a group does. Clients are honest
// ones of ours. Messages take no time; a server without a leader answers nobody, and
// its lease clock stands still. The same scenario gives the same numbers.
//
// Scaling is apart from all that: the dividing of the original's simulation, which
// is not what its servers do.
package simulate
