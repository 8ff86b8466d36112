// Package measure is what bench's subjects are asked and answer, and how: crowds of
// callers that cost next to nothing themselves, what a process uses, and profiles.
package measure

import (
	"context"
	"time"
)

// Setup says what a subject is to be; its process gets it as JSON.
type Setup struct {
	// Subject is one of subjects.
	Subject string `json:"subject"`
	Groups  int    `json:"groups"`
	// Hosts of the subjects in process: every group has a replica on each.
	Hosts int `json:"hosts"`
	// Regions of the hosts of a fleet, in turn; none for those of localfleet.
	Regions []string `json:"regions,omitempty"`
	// Tick of the subjects in process.
	Tick time.Duration `json:"tick"`
	// Tuned gives plain dragonboat the soft settings that our hosts use.
	Tuned bool `json:"tuned,omitempty"`
	// Hibernate lets idle groups sleep; of plain dragonboat it is Quiesce.
	Hibernate bool `json:"hibernate,omitempty"`
	// UnloadAfter is our option of that name.
	UnloadAfter time.Duration `json:"unload_after,omitempty"`
	// Wave is the number of groups that are started at a time; 0 is all.
	Wave int `json:"wave,omitempty"`
	// Connections of callers to the echo; 0 is one.
	Connections int `json:"connections,omitempty"`
	// Profile is a directory for a CPU profile of each run, Heap adds one of the heap.
	Profile string `json:"profile,omitempty"`
	Heap    bool   `json:"heap,omitempty"`
}

// Subjects.
const (
	Ours     = "drumline"
	Plain    = "dragonboat"
	OursGRPC = "drumline-grpc"
	EchoGRPC = "echo-grpc"
	// Leases is a fleet that leases capacity, Sequences one that hands out numbers.
	Leases    = "drumline-leases"
	Sequences = "drumline-sequences"
	// Counters is a fleet that counts, BareHTTP a handler of net/http that does.
	Counters = "drumline-counters"
	BareHTTP = "bare-http"
)

// Things to ask of a subject; besides those that callers do, see Operation.
const (
	// OpStart tells how long the first start took, OpRestart stops and starts it again.
	OpStart   = "start"
	OpRestart = "restart"
	// OpIdle measures what doing nothing costs, OpSettle waits until all that may sleep does.
	OpIdle   = "idle"
	OpSettle = "settle"
	// OpFirst measures commands to groups that nobody has called for long.
	OpFirst = "first"
	// OpFail kills a host, OpPause and OpResume stop and continue all there is.
	OpFail   = "fail"
	OpPause  = "pause"
	OpResume = "resume"
	// OpLease refreshes leases of capacity, OpNumbers takes numbers of a sequence.
	OpLease   = "lease"
	OpNumbers = "numbers"
	// OpHits counts.
	OpHits = "hits"
)

// Request asks a subject for one thing.
type Request struct {
	Op string `json:"op"`
	// Via is the way that calls take, see roads; empty in process.
	Via string `json:"via,omitempty"`
	// Callers is the number of operations under way at a time.
	Callers int `json:"callers"`
	// Time is the length of the run.
	Time time.Duration `json:"time"`
	// Algorithm, Clients of each resource and resources in Each request, of OpLease.
	Algorithm string `json:"algorithm,omitempty"`
	Clients   int    `json:"clients,omitempty"`
	Each      int    `json:"each,omitempty"`
	// Keys of the family.
	Keys int `json:"keys,omitempty"`
}

// Label names a subject in the tables, with what makes it unlike others of its kind.
func (s Setup) Label() string {
	name := s.Subject
	for _, a := range []struct {
		on   bool
		text string
	}{{s.Subject == Plain && s.Tuned, "tuned"}, {s.Hibernate, "asleep"}, {s.UnloadAfter > 0, "unloaded"}} {
		if a.on {
			name += ", " + a.text
		}
	}
	return name
}

// Measured runs callers of an operation, with a profile if one is wanted.
func (s Setup) Measured(ctx context.Context, r Request, u func() Usage, w Workload) (m Sample, err error) {
	err = s.Profiled(r, func() { m = Run(ctx, r, u, w) })
	return m, err
}

// Drowsy is the time after which every idle group sleeps: dragonboat's are idle for
// ten election timeouts before they quiesce, and not all at once. The last of a thousand
// need some 200 ticks, and while they are awake they cost many times what they do asleep.
func (s Setup) Drowsy() time.Duration {
	if !s.Hibernate {
		return 0
	}
	if s.UnloadAfter > 0 {
		return 150*s.Tick + s.UnloadAfter*3/2 + linger
	}
	return 300*s.Tick + 5*time.Second
}

// linger is after how long without a message dragonboat gives up its streams to other hosts,
// with queues of some megabytes each, and a little more: of groups that are unloaded
// for hours that is the state which counts. What is idle is unloaded a half later than asked.
const linger = 65 * time.Second
