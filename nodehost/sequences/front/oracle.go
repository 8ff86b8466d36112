package front

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/statemachines/sequence/answer"
)

// How far ahead of the clock a window reaches. After a failover timestamps are ahead of
// the clock by span at most, which is less than a failover takes.
const (
	span = time.Second
	// step is how far a window goes on that lies ahead of the clock already.
	step = 50 * time.Millisecond
	// patience bounds one question to the group.
	patience = 10 * time.Second
)

// ask is one request for timestamps; out gets the answer.
type ask struct {
	next *sequencepb.Next
	out  *raft.Outcome
}

// round is requests that came together.
type round struct {
	asks []ask
	done chan struct{}
	// answers are the outcomes, in the order of asks; before done they are the runner's.
	answers []raft.Outcome
}

// oracle hands out the timestamps of one sequence.
type oracle struct {
	f     *Front
	group ids.Group
	key   string

	mu      sync.Mutex
	waiting []*round           // guarded by mu
	running bool               // guarded by mu: somebody answers
	window  *sequencepb.Window // guarded by mu: nil until there is one; replaced, never changed
	next    uint64             // guarded by mu: the next timestamp of the window
	issued  uint64             // guarded by mu: since the window was last moved on
	moving  bool               // guarded by mu: it is being moved on beside
}

// ask puts requests, and returns how to wait for their answers. Who does not wait to the
// end is told that nothing came of it: a timestamp that nobody saw is none.
func (o *oracle) ask(asks []ask) func(context.Context) {
	r := &round{asks: asks, done: make(chan struct{}), answers: make([]raft.Outcome, len(asks))}
	o.mu.Lock()
	o.waiting = append(o.waiting, r)
	start := !o.running
	o.running = true
	o.mu.Unlock()
	if start && !o.f.launch(o.run) {
		o.mu.Lock()
		o.running = false
		o.mu.Unlock()
		return func(context.Context) { r.fill(fault.New(fault.Unavailable, "the host is stopping")) }
	}
	return func(ctx context.Context) {
		select {
		case <-r.done:
			for i, a := range r.asks {
				*a.out = r.answers[i]
			}
		case <-ctx.Done():
			r.fill(fault.Wrap(ctx.Err(), fault.Deadline, "wait for timestamps"))
		}
	}
}

// fill gives all requests of a round the same error.
func (r *round) fill(err error) {
	for _, a := range r.asks {
		*a.out = raft.Outcome{Err: err}
	}
}

// run answers rounds while there are any.
func (o *oracle) run() {
	for {
		o.mu.Lock()
		rounds := o.waiting
		o.waiting = nil
		if len(rounds) == 0 {
			o.running = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		o.answer(rounds)
	}
}

// answer answers rounds that all came before it was called.
func (o *oracle) answer(rounds []*round) {
	ctx, cancel := context.WithTimeout(o.f.ctx, patience)
	defer cancel()
	refused, err := o.confirm(ctx)
	for _, r := range rounds {
		for i, a := range r.asks {
			if refused == nil && err == nil {
				r.answers[i], refused, err = o.hand(ctx, a.next)
			}
			if refused != nil {
				r.answers[i] = raft.Outcome{Result: answer.Encode(refused)}
			} else if err != nil {
				r.answers[i] = raft.Outcome{Err: err}
			}
		}
		close(r.done)
	}
	if refused != nil || err != nil {
		o.f.forget(o) // the machine knows better next time
		return
	}
	o.ahead()
}

// confirm sees to it that this host has the newest window, or why not.
func (o *oracle) confirm(ctx context.Context) (*sequencepb.Result, error) {
	o.mu.Lock()
	mine := o.window
	o.mu.Unlock()
	if mine == nil {
		return o.advance(ctx, 0)
	}
	query, err := proto.Marshal(&sequencepb.Query{Op: &sequencepb.Query_Window{Window: &sequencepb.GetWindow{Key: o.key}}})
	if err != nil {
		return nil, fmt.Errorf("pack the query: %w", err)
	}
	data, err := o.f.Read(ctx, o.group, query)
	if err != nil {
		return nil, err
	}
	a := &sequencepb.Answer{}
	if err := proto.Unmarshal(data, a); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the group's answer is none of app sequence")
	}
	if same(mine, a.GetWindow()) {
		return nil, nil //nolint:nilnil // nothing refuses
	}
	return o.advance(ctx, 0)
}

// same tells whether two are one window, however far it has moved.
func same(a, b *sequencepb.Window) bool {
	return a.GetWindow() == b.GetWindow() && a.GetIncarnation() == b.GetIncarnation() && a.GetGeneration() == b.GetGeneration()
}

// advance moves the window on until it reaches to the clock and a span beyond, or begins
// another one when number is 0.
func (o *oracle) advance(ctx context.Context, number uint64) (*sequencepb.Result, error) {
	o.mu.Lock()
	a := &sequencepb.Advance{Key: o.key, Window: number, Issued: o.issued}
	target := o.f.now().Add(span).UnixMilli()
	if w := o.window; w != nil && number != 0 {
		a.Incarnation = w.GetIncarnation()
		target = max(target, int64(w.GetLast()>>w.GetLogicalBits())+step.Milliseconds())
	}
	a.UntilMs = uint64(max(target, 0))
	o.mu.Unlock()
	cmd, err := proto.Marshal(&sequencepb.Command{Op: &sequencepb.Command_Advance{Advance: a}})
	if err != nil {
		return nil, fmt.Errorf("pack the command: %w", err)
	}
	done, err := o.f.Raft.ProposeOwn(ctx, o.group, cmd)
	if err != nil {
		return nil, passing(err)
	}
	r := &sequencepb.Result{}
	if err := proto.Unmarshal(done.Data, r); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the group's answer is none of app sequence")
	}
	if r.GetWindow() == nil {
		return r, nil
	}
	o.take(r.GetWindow(), a)
	return nil, nil //nolint:nilnil // nothing refuses
}

// passing is the error of an asker whose window could not be moved on: nothing was handed
// out, whatever became of the window, so asking again is safe.
func passing(err error) error {
	if fault.MayHaveApplied(err) {
		return fault.Wrap(err, fault.Unavailable, "the window of timestamps was not moved on in time")
	}
	return err
}

// take notes what the log has granted.
func (o *oracle) take(w *sequencepb.Window, a *sequencepb.Advance) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.issued -= min(o.issued, a.GetIssued())
	switch {
	case a.GetWindow() == 0:
		o.window, o.next = w, w.GetFirst()
	case same(o.window, w) && w.GetLast() > o.window.GetLast():
		o.window = w
	}
}

// hand hands timestamps out of the window, which is moved on first if it has too few.
func (o *oracle) hand(ctx context.Context, n *sequencepb.Next) (raft.Outcome, *sequencepb.Result, error) {
	for {
		r, number := o.allot(n)
		if r != nil {
			return raft.Outcome{Result: answer.Encode(r)}, nil, nil
		}
		refused, err := o.advance(ctx, number)
		if refused.GetOutcome() == sequencepb.Outcome_OUTCOME_NOT_HELD {
			refused, err = o.advance(ctx, 0) // this host leads, so the window is its own to begin
		}
		if refused != nil || err != nil {
			return raft.Outcome{}, refused, err
		}
	}
}

// allot takes timestamps off the window; nil, with the window's number, when there are too
// few.
func (o *oracle) allot(n *sequencepb.Next) (*sequencepb.Result, uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.window
	if refused := unfit(n, w); refused != nil {
		return refused, 0
	}
	want := max(n.GetCount(), 1)
	count := min(want, 1<<w.GetLogicalBits()) // one request stays within two milliseconds
	if w.GetMaxRange() > 0 {
		count = min(count, w.GetMaxRange())
	}
	if n.GetWhole() && count < want {
		return refusal(sequencepb.Outcome_OUTCOME_EXHAUSTED, fmt.Sprintf("one request may have %d timestamps, and %d are wanted", count, want)), 0
	}
	first := max(o.next, uint64(max(o.f.now().UnixMilli(), 0))<<w.GetLogicalBits())
	if first > w.GetLast() || w.GetLast()-first+1 < count {
		return nil, w.GetWindow()
	}
	o.next = first + count
	o.issued += count
	return &sequencepb.Result{Outcome: sequencepb.Outcome_OUTCOME_OK, Grant: &sequencepb.Grant{
		First: int64(first), Count: count, Step: 1, Mode: sequencepb.Mode_MODE_TSO, //nolint:gosec // below 2^63
		Incarnation: w.GetIncarnation(), Group: w.GetGroup(), Generation: w.GetGeneration(), LogicalBits: w.GetLogicalBits(),
	}}, 0
}

// unfit refuses what timestamps cannot be asked for.
func unfit(n *sequencepb.Next, w *sequencepb.Window) *sequencepb.Result {
	if n.GetIncarnation() != 0 && n.GetIncarnation() != w.GetIncarnation() {
		return refusal(sequencepb.Outcome_OUTCOME_INCARNATION, "the sequence was dropped and made anew: what was handed out before is of another one")
	}
	if n.Floor != nil {
		return refusal(sequencepb.Outcome_OUTCOME_WRONG_MODE, "timestamps follow the clock, so a floor means nothing")
	}
	return nil
}

func refusal(o sequencepb.Outcome, detail string) *sequencepb.Result {
	return &sequencepb.Result{Outcome: o, Detail: detail}
}

// ahead moves the window on beside the askers, before it is used up.
func (o *oracle) ahead() {
	o.mu.Lock()
	w := o.window
	left := time.Duration(int64(w.GetLast()>>w.GetLogicalBits())-o.f.now().UnixMilli()) * time.Millisecond //nolint:gosec // below 2^55
	start := !o.moving && left < span/2
	o.moving = o.moving || start
	o.mu.Unlock()
	if !start {
		return
	}
	moved := func() {
		ctx, cancel := context.WithTimeout(o.f.ctx, patience)
		defer cancel()
		_, _ = o.advance(ctx, w.GetWindow()) // if it fails, the next asker moves it on and is told
		o.mu.Lock()
		o.moving = false
		o.mu.Unlock()
	}
	if !o.f.launch(moved) {
		o.mu.Lock()
		o.moving = false
		o.mu.Unlock()
	}
}
