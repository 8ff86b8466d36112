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

// desk is what a Sequence is to its group: a client, whose commands have serials.
type desk struct {
	// opening has room for one, who opens a client.
	opening chan struct{}

	mu     sync.Mutex
	client *sequencepb.Client // guarded by mu; nil until it is opened
	serial uint64             // guarded by mu: the newest one
	// unsettled are the serials whose answers, or whose numbers, are still needed; guarded by mu.
	unsettled []uint64
	// incarnation of the sequence; guarded by mu, 0 until it is known.
	incarnation uint64
	// high is the number behind the last one that was granted; floor says that it must be
	// told, because the group was recovered; both guarded by mu.
	high  int64
	floor bool
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

// known is the client, opened if there is none or if it is the one that is gone.
func (d *desk) known(ctx context.Context, q *Sequence, gone *sequencepb.Client) (*sequencepb.Client, error) {
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
	r, err := d.send(ctx, q, &sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: rand.Uint64()}}})
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
func (d *desk) send(ctx context.Context, q *Sequence, cmd *sequencepb.Command) (*sequencepb.Result, error) {
	cmd.NowMs = uint64(time.Now().UnixMilli())
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("pack the command: %w", err)
	}
	for pause := (backoff{}); ; {
		answer, again, err := d.try(ctx, q, data)
		q.note(err)
		if err == nil {
			r := &sequencepb.Result{}
			if err := proto.Unmarshal(answer, r); err != nil {
				return nil, fmt.Errorf("%w: the answer is none of app sequence: %w", ErrRefused, err)
			}
			return r, nil
		}
		if !again {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if !pause.wait(ctx) {
			return nil, fmt.Errorf("%w; what it waits for: %w", context.Cause(ctx), err)
		}
	}
}

// try proposes once.
func (d *desk) try(ctx context.Context, q *Sequence, data []byte) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, q.o.timeout)
	defer cancel()
	return q.group.Propose(ctx, data) //nolint:wrapcheck // the client's own error
}

// fetch gets a range. Whatever is lost on the way, it asks by the same serial until there
// is an answer.
func (q *Sequence) fetch(ctx context.Context, count uint64, whole bool) (*span, error) {
	var gone *sequencepb.Client
	for pause := (backoff{}); ; {
		c, err := q.desk.known(ctx, q, gone)
		if err != nil {
			return nil, err
		}
		serial := q.desk.number(c)
		cmd := &sequencepb.Command{Caller: q.desk.caller(c, serial), Op: &sequencepb.Command_Next{Next: q.desk.next(q.key, count, whole)}}
		r, err := q.desk.send(ctx, q, cmd)
		if err != nil {
			q.desk.settle(c, serial) // nobody waits for it any more
			return nil, err
		}
		switch r.GetOutcome() { //nolint:exhaustive // the others are refusals
		case sequencepb.Outcome_OUTCOME_OK:
			return q.landed(c, serial, r.GetGrant())
		case sequencepb.Outcome_OUTCOME_UNKNOWN_CLIENT:
			if gone = c; !pause.wait(ctx) {
				return nil, context.Cause(ctx) //nolint:wrapcheck // the caller says what for
			}
			continue
		}
		q.desk.settle(c, serial)
		refused := refusalOf(r)
		if !passes(r) {
			return nil, refused
		}
		q.note(refused)
		if !wait(ctx, time.Duration(r.GetRetryMs())*time.Millisecond) || !pause.wait(ctx) {
			return nil, fmt.Errorf("%w; what it waits for: %w", context.Cause(ctx), refused)
		}
	}
}

// landed makes a span of a grant.
func (q *Sequence) landed(c *sequencepb.Client, serial uint64, g *sequencepb.Grant) (*span, error) {
	if g.GetMode() == sequencepb.Mode_MODE_TSO {
		return nil, fmt.Errorf("%w: timestamps need the time of a host: call Next of the service Sequence", ErrRefused)
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
func (d *desk) giveBack(ctx context.Context, q *Sequence, s *span, unused uint64) error {
	d.mu.Lock()
	mine := s.client == d.client
	d.mu.Unlock()
	if !mine {
		return nil
	}
	serial := d.number(s.client)
	back := &sequencepb.GiveBack{Key: q.key, Serial: s.serial, Unused: unused}
	_, err := d.send(ctx, q, &sequencepb.Command{Caller: d.caller(s.client, serial), Op: &sequencepb.Command_GiveBack{GiveBack: back}})
	d.settle(s.client, serial)
	return err
}

// leave lets the group forget the client.
func (d *desk) leave(ctx context.Context, q *Sequence) error {
	d.mu.Lock()
	c := d.client
	d.mu.Unlock()
	if c == nil {
		return nil
	}
	_, err := d.send(ctx, q, &sequencepb.Command{Caller: d.caller(c, d.number(c)), Op: &sequencepb.Command_Close{Close: &sequencepb.Close{}}})
	return err
}
