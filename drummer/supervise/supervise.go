// Package supervise drives the supervisor's pure loop: it carries the hosts'
// streams, the record's changes and the passing of time to a Core, and carries out
// what the Core answers.
//
// One goroutine, Run, owns the Core; everything else is handed to it. It blocks on
// nothing but its inputs: what it sends to a host goes into the session's bounded
// queue, and a host that doesn't empty its queue is disconnected; what it proposes
// runs in goroutines of bounded number, whose results come back as inputs.
//
// A drummer leads when its replica of the drummers' group serves as Raft leader;
// there is no second election. Only then does Run feed the Core: first Led, after
// a linearizable look at the record, then passes over the newest local look. When
// the leadership goes, the streams end with a redirect to the new leader, and what
// is still under way is forgotten: the record says how far it came.
package supervise

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
)

// Record is the drummers' group, as this drummer's replica has it.
type Record interface {
	// Leading tells whether this replica serves as leader, and in which term.
	Leading() (term uint64, leading bool)
	// TakeOver opens the group if it never was, and returns a linearizable look.
	TakeOver(ctx context.Context) (*fleet.View, error)
	// LocalView is the newest look that this replica has.
	LocalView() (*fleet.View, error)
	// Propose stamps the command with the wall clock and proposes it.
	Propose(ctx context.Context, cmd *fleetpb.Command) (*fleetpb.Result, error)
}

// Core decides; *loop.Core does in production.
type Core interface {
	Step(e loop.Event, now time.Duration) []loop.Effect
	Observed(now time.Duration) *loop.Observed
}

// Options are what a Supervisor needs. Zero durations and sizes have defaults.
type Options struct {
	Record     Record
	Core       Core
	Deployment string
	// Leader returns the gRPC address of the drummer that leads, empty when unknown.
	Leader func() string
	// PassEvery is the longest time between two passes.
	PassEvery time.Duration
	// Queue is the number of messages that wait for one host at most.
	Queue int
	// Proposals is the number of proposals under way at most; ProposeTimeout bounds each.
	Proposals      int
	ProposeTimeout time.Duration
	// HelloTimeout bounds the wait for a stream's first message.
	HelloTimeout time.Duration
	Metrics      prometheus.Registerer
	Log          *slog.Logger
}

// Defaults of Options.
const (
	defaultPassEvery      = 500 * time.Millisecond
	defaultQueue          = 8192
	defaultProposals      = 64
	defaultProposeTimeout = 5 * time.Second
	defaultHelloTimeout   = 10 * time.Second
)

// Passes are at least passGap apart, and take at most one passShare'th of the loop's time.
const (
	passGap   = 20 * time.Millisecond
	passShare = 5
)

// observedFor is how long one observation answers the operators' questions.
const observedFor = 100 * time.Millisecond

// Supervisor is the driver, and the hosts' service.
type Supervisor struct {
	drummerpb.UnimplementedSupervisorServer
	o       Options
	origin  time.Time
	metrics *metrics

	inbox chan func()   // run by the loop, in order
	poke  chan struct{} // leadership or record may have changed
	quit  chan struct{} // closed when Run has ended its last session
	wg    sync.WaitGroup
	mu    sync.Mutex    // guards over
	over  bool          // nothing may enter wg any more
	last  atomic.Uint64 // number of the newest session
	stage atomic.Pointer[stage]
	seen  atomic.Pointer[observation]

	// The rest belongs to Run's goroutine.
	ctx      context.Context //nolint:containedctx // of Run, for what it starts
	led      bool
	term     uint64
	reign    uint64 // counts leaderships; results of an older one are dropped
	taking   bool   // a takeover is under way
	sessions map[uint64]*session
	events   []loop.Event
	waiting  []loop.Propose
	inFlight int
	dirty    bool // a pass is wanted
	passed   time.Time
	rest     time.Duration // to wait between two passes
}

// stage is whether this drummer supervises, and in which term.
type stage struct {
	leading bool // true once the takeover is done
	term    uint64
	changed chan struct{} // closed when another stage follows
}

type observation struct {
	at       time.Time
	observed *loop.Observed
}

// New makes a Supervisor; Run runs it.
func New(o Options) *Supervisor {
	o.PassEvery = orDefault(o.PassEvery, defaultPassEvery)
	o.Queue = orDefault(o.Queue, defaultQueue)
	o.Proposals = orDefault(o.Proposals, defaultProposals)
	o.ProposeTimeout = orDefault(o.ProposeTimeout, defaultProposeTimeout)
	o.HelloTimeout = orDefault(o.HelloTimeout, defaultHelloTimeout)
	s := &Supervisor{
		o: o, origin: time.Now(), metrics: newMetrics(o.Metrics),
		inbox: make(chan func(), 256), poke: make(chan struct{}, 1), quit: make(chan struct{}),
		sessions: map[uint64]*session{}, rest: passGap,
	}
	s.stage.Store(&stage{changed: make(chan struct{})})
	return s
}

func orDefault[T time.Duration | int](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// Leading tells whether this drummer supervises now, and in which term.
func (s *Supervisor) Leading() (term uint64, leading bool) {
	now := s.stage.Load()
	return now.term, now.leading
}

// Poke tells that leadership or record may have changed. It never blocks.
func (s *Supervisor) Poke() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Observed is what the supervisor sees, at most a moment old. It is an error
// (NotSupervisor) on a drummer that does not lead.
func (s *Supervisor) Observed(ctx context.Context) (*loop.Observed, error) {
	if o := s.seen.Load(); o != nil && time.Since(o.at) < observedFor && s.stage.Load().leading {
		return o.observed, nil
	}
	answer := make(chan *loop.Observed, 1)
	err := s.post(ctx, func() {
		if !s.led {
			answer <- nil
			return
		}
		o := s.o.Core.Observed(s.now())
		s.seen.Store(&observation{at: time.Now(), observed: o})
		answer <- o
	})
	if err != nil {
		return nil, err
	}
	select {
	case o := <-answer:
		if o == nil {
			return nil, s.notSupervisor()
		}
		return o, nil
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Deadline, "ask the supervisor's loop")
	case <-s.quit:
		return nil, errStopping()
	}
}

// post hands f to the loop, unless ctx or the Supervisor ends first.
func (s *Supervisor) post(ctx context.Context, f func()) error {
	select {
	case s.inbox <- f:
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Deadline, "the supervisor's loop is busy")
	case <-s.quit:
		return errStopping()
	}
}

func (s *Supervisor) notSupervisor() error {
	leader := s.o.Leader()
	if leader == "" {
		return fault.New(fault.NotSupervisor, "no drummer leads just now: try again, and if it stays so see that more than half of the drummers run")
	}
	return fault.New(fault.NotSupervisor, "this drummer does not lead; ask %s", leader).TryAt(leader)
}

func errStopping() error { return fault.New(fault.Unavailable, "this drummer is stopping") }

// enter counts one more stream that Run waits for, unless Run has ended.
func (s *Supervisor) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.wg.Add(1)
	}
	return !s.over
}

// now is the Core's time.
func (s *Supervisor) now() time.Duration { return time.Since(s.origin) }
