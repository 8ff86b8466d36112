// Package loop is the supervisor: the pure core of the leading drummer's loop. The
// server around it feeds events (what hosts say, the record as it changes, the
// fate of proposals) and carries out effects (messages to hosts, proposals,
// disconnects). It keeps what is observed: sessions, liveness, reports, orders and
// proposals on their way. All of it is lost with the leadership and re-learnt from
// the hosts; what must survive is in the record.
//
// Time is an argument. Silence counts from the later of the last message and
// taking the lead, and only while the loop's own passes came on time: a suspended
// or starved supervisor does not age its hosts. Freshness, which safety rests on,
// counts in real time.
package loop

import (
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Event is something that happened.
type Event interface{ isEvent() }

// Events that the server feeds.
type (
	// Led says that this drummer leads under the term: its Lead entry is applied, and
	// every view that follows is at least as new.
	Led struct{ Term uint64 }
	// Unled says that it leads no more.
	Unled struct{}
	// Connected says that a host opened a stream; the server numbers sessions.
	Connected struct {
		Session uint64
		Hello   *drummerpb.Hello
	}
	// Reported is a report of changes.
	Reported struct {
		Session uint64
		Report  *drummerpb.Report
	}
	// Beat is a heartbeat; Boot is set while the host starts its replicas, Age is that of
	// its data directory.
	Beat struct {
		Session uint64
		Boot    *drummerpb.Boot
		Age     uint64
	}
	// Answered is the answer to an order.
	Answered struct {
		Session uint64
		Result  *drummerpb.OrderResult
	}
	// Gone says that a stream ended; Goodbye that the host said it stops on purpose.
	Gone struct {
		Session uint64
		Goodbye bool
	}
	// Pass makes the loop plan: sent after each change (coalesced) and at least
	// every PassPeriod, with the newest view of the record: at least as new as every
	// result fed before it. UnixMs is the wall clock, by which maintenance ends.
	Pass struct {
		View   *fleet.View
		UnixMs int64
	}
	// Proposed is the fate of a proposal: a result, or why there is none.
	Proposed struct {
		Token  uint64
		Result *fleetpb.Result
		Err    string
	}
)

func (Led) isEvent()       {}
func (Unled) isEvent()     {}
func (Connected) isEvent() {}
func (Reported) isEvent()  {}
func (Beat) isEvent()      {}
func (Answered) isEvent()  {}
func (Gone) isEvent()      {}
func (Pass) isEvent()      {}
func (Proposed) isEvent()  {}

// Effect is something for the server to do.
type Effect interface{ isEffect() }

// Effects that the server carries out, in order.
type (
	// Send sends a message to a session.
	Send struct {
		Session uint64
		Message *drummerpb.SupervisorMessage
	}
	// Propose proposes a command to the record under the term that leads; the server
	// stamps its at_unix_ms and answers with Proposed of the same token.
	Propose struct {
		Token   uint64
		Command *fleetpb.Command
	}
	// Disconnect ends a session; the server sends no Gone for it.
	Disconnect struct {
		Session uint64
		Reason  string
		Verdict Verdict
	}
)

// Verdict tells a host what the end of its session means.
type Verdict int

// Verdicts.
const (
	// Over: the host may come again at once, and goes on meanwhile.
	Over Verdict = iota
	// NotNow: somebody may be using the host's identity. It must start nothing until
	// it is welcomed.
	NotNow
	// Never: the host's identity is spent. It must stop.
	Never
)

func (Send) isEffect()       {}
func (Propose) isEffect()    {}
func (Disconnect) isEffect() {}

// PassPeriod is how often the server sends a Pass when nothing changes.
const PassPeriod = 500 * time.Millisecond

// Options of a Core.
type Options struct {
	// Deployment that hosts must belong to.
	Deployment string
	// Fleet identifies the record for ever; hosts of another one are not attended.
	Fleet string
	// Drummers are the gRPC addresses that hosts are told until the record lists drummers.
	Drummers []string
	// Heartbeat is the period asked of hosts; 0 means 1 s.
	Heartbeat time.Duration
	// Resend is after how long an unanswered order is sent again; 0 means 5 s.
	Resend time.Duration
	// Planned is told of every plan and of what it was made from; it must not change or
	// keep them. Nil for nobody. It is there for those who check the planner.
	Planned func(planner.View, planner.Result)
}

func (o Options) withDefaults() Options {
	if o.Heartbeat == 0 {
		o.Heartbeat = time.Second
	}
	if o.Resend == 0 {
		o.Resend = 5 * time.Second
	}
	return o
}

// Observed is an immutable copy of what the loop knows, for the API.
type Observed struct {
	planner.Observed
	// Leading tells that this drummer supervises; else the rest is empty.
	Leading bool
	// Term of the leadership.
	Term uint64
	// Reasons of the last pass, by group and by host.
	Reasons     map[ids.Group][]string
	HostReasons map[ids.Host][]string
	// UnixMs is the wall clock of the last pass, View the record as that pass had it: what
	// is observed and the record are of one moment. Nil before the first.
	UnixMs int64
	View   *fleet.View
	// Orders on their way.
	Orders int
}
