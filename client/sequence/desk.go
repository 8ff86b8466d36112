package sequence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// desk is what a Sequence, or one of its like, is to its group: a client, whose commands
// have serials.
type desk struct {
	group   Group
	timeout time.Duration // of one try
	// note is told what each try came to; may be nil.
	note func(error)
	// opening has room for one, who opens a client.
	opening chan struct{}

	mu sync.Mutex
	// trouble is why the newest try failed; guarded by mu, nil when it did not.
	trouble error
	client  *sequencepb.Client // guarded by mu; nil until it is opened
	serial  uint64             // guarded by mu: the newest one
	// unsettled are the serials whose answers, or whose numbers, are still needed; guarded by mu.
	unsettled []uint64
	// incarnation of the sequence; guarded by mu, 0 until it is known.
	incarnation uint64
	// high is the number behind the last one that was granted; floor says that it must be
	// told, because the group was recovered; both guarded by mu.
	high  int64
	floor bool
}

// ticket is a command's place among those of a client: whoever sends it again gets the
// same answer. The zero ticket has none yet.
type ticket struct {
	client *sequencepb.Client
	serial uint64
	// unsure says that the command may have been applied under an older ticket, whose
	// answer nobody remembers.
	unsure bool
}

// start makes the desk usable.
func (d *desk) start(group Group, timeout time.Duration, note func(error)) {
	d.group, d.timeout, d.note, d.opening = group, timeout, note, make(chan struct{}, 1)
}

// came notes what a try came to.
func (d *desk) came(err error) {
	if d.note != nil {
		d.note(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble = err
}

// waiting is the error of a caller whose context ended while it waited.
func (d *desk) waiting(cause error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trouble != nil {
		return fmt.Errorf("%w; what it waits for: %w", cause, d.trouble)
	}
	return cause
}

// number is a serial for a command of the client c.
func (d *desk) number(c *sequencepb.Client) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serial++
	if c == d.client { // an older one will be refused
		d.unsettled = append(d.unsettled, d.serial)
	}
	return d.serial
}

// settle says that a serial's answer and numbers are needed no more.
func (d *desk) settle(c *sequencepb.Client, serial uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c == d.client { // of an older client nothing is known any more
		d.unsettled = slices.DeleteFunc(d.unsettled, func(s uint64) bool { return s == serial })
	}
}

// caller is that of a command.
func (d *desk) caller(c *sequencepb.Client, serial uint64) *sequencepb.Caller {
	d.mu.Lock()
	defer d.mu.Unlock()
	settled := serial - 1
	for _, s := range d.unsettled {
		settled = min(settled, s-1)
	}
	return &sequencepb.Caller{Client: c, Serial: serial, Settled: settled}
}

// next is the operation that asks for count numbers.
func (d *desk) next(key string, count uint64, whole bool) *sequencepb.Next {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &sequencepb.Next{Key: key, Count: count, Whole: whole, Incarnation: d.incarnation}
	if d.floor {
		n.Floor = proto.Int64(d.high)
	}
	return n
}

// granted remembers what grants tell.
func (d *desk) granted(g *sequencepb.Grant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := g.GetFirst() + int64(g.GetCount())*g.GetStep()
	if d.incarnation == 0 || (g.GetStep() > 0) == (end > d.high) {
		d.high = end
	}
	d.incarnation = g.GetIncarnation()
}

// of is the incarnation of the sequence that is used; 0 until it is known.
func (d *desk) of() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.incarnation
}

// met remembers the incarnation of the sequence.
func (d *desk) met(incarnation uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.incarnation = incarnation
}

// known is the client, opened if there is none or if it is the one that is gone.
func (d *desk) known(ctx context.Context, gone *sequencepb.Client) (*sequencepb.Client, error) {
	select {
	case d.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx) //nolint:wrapcheck // the caller says what for
	}
	defer func() { <-d.opening }()
	d.mu.Lock()
	old := d.client
	d.mu.Unlock()
	if old != nil && old != gone {
		return old, nil
	}
	r, _, err := d.send(ctx, &sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: rand.Uint64()}}})
	if err != nil {
		return nil, err
	}
	c := r.GetClient()
	if c == nil {
		return nil, refusalOf(r)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old != nil && foreign(old, c) {
		return nil, fmt.Errorf("%w: client %d of group %d is now client %d of group %d", ErrDifferent,
			old.GetNumber(), old.GetGroup(), c.GetNumber(), c.GetGroup())
	}
	d.floor = d.floor || (old != nil && d.incarnation != 0 && c.GetGeneration() > old.GetGeneration())
	d.client, d.unsettled = c, nil
	return c, nil
}

// foreign tells whether a client that was opened anew can't be of the same sequence: a
// recovery raises the generation, and everything else keeps the group and goes on counting.
func foreign(old, c *sequencepb.Client) bool {
	if c.GetGeneration() > old.GetGeneration() {
		return false
	}
	return c.GetGroup() != old.GetGroup() || c.GetGeneration() < old.GetGeneration() || c.GetNumber() <= old.GetNumber()
}

// send proposes a command until there is an answer, ctx ends, or it is refused for good.
// It says how many tries there were. The hosts give it a time: this machine's clock may be
// anything.
func (d *desk) send(ctx context.Context, cmd *sequencepb.Command) (r *sequencepb.Result, tries int, err error) {
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, 0, fmt.Errorf("pack the command: %w", err)
	}
	for pause := (backoff{}); ; {
		tries++
		answer, again, err := d.try(ctx, data)
		d.came(err)
		if err == nil {
			r := &sequencepb.Result{}
			if err := proto.Unmarshal(answer, r); err != nil {
				return nil, tries, fmt.Errorf("%w: the answer is none of app sequence: %w", ErrRefused, err)
			}
			return r, tries, nil
		}
		if !again {
			return nil, tries, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if !pause.wait(ctx) {
			return nil, tries, fmt.Errorf("%w; what it waits for: %w", context.Cause(ctx), err)
		}
	}
}

// try proposes once.
func (d *desk) try(ctx context.Context, data []byte) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return d.group.Propose(ctx, data) //nolint:wrapcheck // the client's own error
}

// do gets the answer to a command that fill fills in. Whatever is lost on the way, it asks
// by the same serial until there is an answer, and waits for what passes by itself. After
// an error the ticket is as it was sent last: do with it asks for the same answer again.
// The answer is an outcome that is OK or stays; the ticket is the caller's to settle.
func (d *desk) do(ctx context.Context, t *ticket, fill func(*sequencepb.Command)) (*sequencepb.Result, error) {
	var gone *sequencepb.Client
	for pause := (backoff{}); ; {
		if t.client == nil {
			c, err := d.known(ctx, gone)
			if err != nil {
				return nil, err
			}
			t.client, t.serial = c, d.number(c)
		}
		cmd := &sequencepb.Command{Caller: d.caller(t.client, t.serial)}
		fill(cmd)
		r, tries, err := d.send(ctx, cmd)
		if err != nil {
			return nil, err
		}
		switch {
		case r.GetOutcome() == sequencepb.Outcome_OUTCOME_UNKNOWN_CLIENT:
			gone = t.client
			t.unsure = t.unsure || tries > 1
		case passes(r):
			t.unsure = t.unsure || r.GetOutcome() == sequencepb.Outcome_OUTCOME_TOO_OLD
			d.settle(t.client, t.serial)
			d.came(refusalOf(r))
		default:
			return r, nil
		}
		t.client = nil
		if !wait(ctx, time.Duration(r.GetRetryMs())*time.Millisecond) || !pause.wait(ctx) {
			return nil, fmt.Errorf("%w; what it waits for: %w", context.Cause(ctx), refusalOf(r))
		}
	}
}

// fetch gets a range.
func (q *Sequence) fetch(ctx context.Context, count uint64, whole bool) (*span, error) {
	t := &ticket{}
	r, err := q.desk.do(ctx, t, func(c *sequencepb.Command) {
		c.Op = &sequencepb.Command_Next{Next: q.desk.next(q.key, count, whole)}
	})
	switch {
	case err != nil:
		q.desk.settle(t.client, t.serial) // nobody waits for it any more
		return nil, err
	case r.GetOutcome() != sequencepb.Outcome_OUTCOME_OK:
		q.desk.settle(t.client, t.serial)
		return nil, refusalOf(r)
	}
	return q.landed(t.client, t.serial, r.GetGrant())
}

// landed makes a span of a grant.
func (q *Sequence) landed(c *sequencepb.Client, serial uint64, g *sequencepb.Grant) (*span, error) {
	if g.GetMode() == sequencepb.Mode_MODE_TSO {
		return nil, fmt.Errorf("%w: the sequence has timestamps, which cannot be taken ahead: use Timestamps", ErrRefused)
	}
	q.desk.granted(g)
	q.mu.Lock()
	q.mode(g)
	q.mu.Unlock()
	s := newSpan(g)
	s.client, s.serial = c, serial
	return s, nil
}

// passes tells whether a refusal passes by itself, or by what an administrator does soon.
func passes(r *sequencepb.Result) bool {
	switch r.GetOutcome() { //nolint:exhaustive // the others stay
	case sequencepb.Outcome_OUTCOME_CLOSED, sequencepb.Outcome_OUTCOME_TOO_OLD:
		return true
	case sequencepb.Outcome_OUTCOME_QUOTA:
		return r.GetRetryMs() > 0
	}
	return false
}

// refusalOf is the error of an outcome.
func refusalOf(r *sequencepb.Result) error {
	kind := ErrRefused
	switch r.GetOutcome() { //nolint:exhaustive // the others are plain refusals
	case sequencepb.Outcome_OUTCOME_EXHAUSTED:
		kind = ErrExhausted
	case sequencepb.Outcome_OUTCOME_INCARNATION, sequencepb.Outcome_OUTCOME_CONFLICT:
		kind = ErrDifferent
	}
	return fmt.Errorf("%w: %s", kind, r.GetDetail())
}

// final tells whether an error stays.
func final(err error) bool { return errors.Is(err, ErrDifferent) }

// giveBack gives the end of a range back. That it is not the last any more is no error:
// it is a gap then, which the group knows of.
func (d *desk) giveBack(ctx context.Context, key string, s *span, unused uint64) error {
	d.mu.Lock()
	mine := s.client == d.client
	d.mu.Unlock()
	if !mine {
		return nil
	}
	serial := d.number(s.client)
	back := &sequencepb.GiveBack{Key: key, Serial: s.serial, Unused: unused}
	_, _, err := d.send(ctx, &sequencepb.Command{Caller: d.caller(s.client, serial), Op: &sequencepb.Command_GiveBack{GiveBack: back}})
	d.settle(s.client, serial)
	return err
}

// leave lets the group forget the client.
func (d *desk) leave(ctx context.Context) error {
	d.mu.Lock()
	c := d.client
	d.mu.Unlock()
	if c == nil {
		return nil
	}
	_, _, err := d.send(ctx, &sequencepb.Command{Caller: d.caller(c, d.number(c)), Op: &sequencepb.Command_Close{Close: &sequencepb.Close{}}})
	return err
}
