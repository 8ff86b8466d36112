package client

import (
	"strings"

	"github.com/drumline/drumline/client/counter"
	"github.com/drumline/drumline/client/sequence"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Region is the doors to the groups of one region, where each region may have one of a name.
// Those of the Client itself name no region: they lead to the group that has none, or to the
// only one of the name; of several nobody guesses, and the call is refused.
type Region struct {
	c    *Client
	name string
}

// In returns the doors to the groups of a region.
func (c *Client) In(region string) Region { return Region{c, region} }

// Group returns the group of that name, like kv/demo. It asks nobody: a group that
// does not exist shows in the first call.
func (r Region) Group(name string) *Group {
	return &Group{c: r.c, name: name, key: name + "\x00" + r.name, ref: &hostpb.GroupRef{Name: name, Region: r.name}}
}

// keyed takes a name with a key apart: that of the group and, behind #, that in it.
func (r Region) keyed(name string) (*Group, string) {
	group, key, _ := strings.Cut(name, "#")
	return r.Group(group), key
}

// KV returns the key-value group of that name.
func (r Region) KV(group string) *KV { return &KV{g: r.Group(group)} }

// Counter returns the client of a counter: counter/NAME, or counter/NAME#KEY for one of a
// family. Close it before the Client.
func (r Region) Counter(name string, opts ...counter.Option) *counter.Counter {
	group, key := r.keyed(name)
	return counter.New(counterGroup{group}, name, key, opts...)
}

// Sequence returns the client of a sequence: sequence/NAME, or sequence/NAME#KEY for one
// of a family. Close it before the Client.
func (r Region) Sequence(name string, opts ...sequence.Option) *sequence.Sequence {
	group, key := r.keyed(name)
	return sequence.New(sequenceGroup{group}, name, key, opts...)
}

// GapFree returns the client of a gap-free sequence, whose numbers are reserved, then
// committed or cancelled. Close it before the Client.
func (r Region) GapFree(name string, opts ...sequence.Option) *sequence.GapFree {
	group, key := r.keyed(name)
	return sequence.NewGapFree(sequenceGroup{group}, name, key, opts...)
}

// TimeIDs returns a maker of numbers of a sequence of mode time: they cost no round trip.
// Close it before the Client.
func (r Region) TimeIDs(name string, opts ...sequence.Option) *sequence.TimeIDs {
	group, key := r.keyed(name)
	return sequence.NewTimeIDs(sequenceGroup{group}, name, key, opts...)
}

// Timestamps returns the client of a sequence of mode tso: hybrid timestamps that ascend
// for everybody. Close it before the Client.
func (r Region) Timestamps(name string, opts ...sequence.Option) *sequence.Timestamps {
	group, key := r.keyed(name)
	return sequence.NewTimestamps(sequenceGroup{group}, name, key, opts...)
}
