// Package engine prepares dragonboat before a host starts it: tuning, logging, the
// shards of its log store, and a data directory that survives a changed hostname.
// All of it is dragonboat's own, process-wide or on disk, and none of it is about
// groups.
package engine
