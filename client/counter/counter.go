// Package counter is the Go client of counters: it counts exactly once, or as fast as an
// addition. client.Client has the door:
//
//	hits := c.Counter("counter/hits")
//	defer hits.Close(ctx)
//	value, err := hits.Add(ctx, 1)
//
// # Exactly once
//
// Add sends an idempotency key with its command, so it is sent again, to whoever leads the
// group then, until its answer is known or ctx ends. An error says that it is not known
// whether it was counted; Add with the same Key later settles that (AddOnce).
//
// # Hot counters
//
// Count only adds to a number in memory and returns; all that was counted goes to the group
// as one command, exactly once, every Every or when half of Most waits, whichever comes
// first. What was counted and is not acknowledged yet is lost with the program: what is
// counted in Every and while a command is on its way, and never more than Most, however long
// the group does not answer. Flush sends it now, Close sends the rest.
package counter

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// Errors of a Counter; use errors.Is.
var (
	// ErrClosed: the Counter was closed.
	ErrClosed = errors.New("the counter client is closed")
	// ErrRefused: the group refuses the request; the text says why. Nothing was counted.
	ErrRefused = errors.New("the counter refuses")
	// ErrUnknown: the group does not remember any more whether it counted under the key, which
	// is older than it remembers keys. A clock that is far behind has the same effect: then
	// nothing was counted.
	ErrUnknown = errors.New("it is not known whether it was counted")
	// ErrFull: as much waits to be sent as may; the group does not answer. Nothing was
	// counted.
	ErrFull = errors.New("too much waits to be counted")
)

// Group is the group of the counter; client.Client makes one.
type Group interface {
	// Propose applies a command. again tells, with an error, whether sending the same
	// command again may help.
	Propose(ctx context.Context, cmd []byte) (data []byte, again bool, err error)
	// Read answers a query.
	Read(ctx context.Context, query []byte) ([]byte, error)
}

// Defaults of the options.
const (
	DefaultEvery = 100 * time.Millisecond
	DefaultMost  = 1 << 20
	// pause is that between tries of one command.
	pause = 50 * time.Millisecond
	// patience bounds one try to send what was counted.
	patience = 10 * time.Second
)

// options of New.
type options struct {
	every time.Duration
	most  uint64
}

// Option changes how a Counter counts.
type Option func(*options)

// Every is how long what Count counted may wait.
func Every(d time.Duration) Option {
	return func(o *options) { o.every = max(d, time.Millisecond) }
}

// Most is how much of what Count counted may wait, amounts of either sign added up. It bounds
// what a program that is killed can lose. When half of it waits, it is sent.
func Most(n uint64) Option {
	return func(o *options) { o.most = min(max(n, 1), math.MaxInt64) }
}

// Counter counts. Its methods may be called from any goroutine.
type Counter struct {
	group     Group
	name, key string
	o         options

	mu      sync.Mutex
	waiting int64  // guarded by mu: what was counted and not taken to be sent
	weight  uint64 // guarded by mu: how much waits or is on its way
	closed  bool   // guarded by mu
	timer   *time.Timer
	hurried bool  // guarded by mu: the timer was set off early
	err     error // guarded by mu: why the last sending failed

	// sending is held while what was counted is sent, so that one command is on its way.
	sending sync.Mutex
	stuck   *counterpb.Add // guarded by sending: a command whose outcome is not known
	heavy   uint64         // guarded by sending: its weight
	flights sync.WaitGroup // of timers' goroutines; Add only while not closed, under mu
}

// New makes the client of a counter. Close it.
func New(g Group, name, key string, opts ...Option) *Counter {
	c := &Counter{group: g, name: name, key: key, o: options{every: DefaultEvery, most: DefaultMost}}
	for _, opt := range opts {
		opt(&c.o)
	}
	return c
}

// Name is counter/NAME, or counter/NAME#KEY.
func (c *Counter) Name() string { return c.name }

// Key is an idempotency key.
type Key = counterpb.Key

// NewKey draws an idempotency key.
func NewKey() *Key {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return &Key{High: binary.BigEndian.Uint64(b[:8]), Low: binary.BigEndian.Uint64(b[8:]) | 1, MadeMs: uint64(time.Now().UnixMilli())}
}

// Add adds an amount, exactly once, and returns the value after it, as far as the region
// knows. A negative amount subtracts.
func (c *Counter) Add(ctx context.Context, amount int64) (int64, error) {
	return c.AddOnce(ctx, amount, NewKey())
}

// AddOnce is Add under a key of the caller's: with the same key it adds once, however
// often it is called within the time that the group remembers keys.
func (c *Counter) AddOnce(ctx context.Context, amount int64, key *Key) (int64, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return 0, ErrClosed
	}
	return c.send(ctx, &counterpb.Add{Key: c.key, Amount: amount, Once: key})
}

// send proposes a command until its outcome is known or ctx ends.
func (c *Counter) send(ctx context.Context, a *counterpb.Add) (int64, error) {
	for {
		cmd, err := proto.Marshal(&counterpb.Command{Op: &counterpb.Command_Add{Add: a}}) // the leader's host tells the time
		if err != nil {
			return 0, fmt.Errorf("pack the command: %w", err)
		}
		data, again, err := c.group.Propose(ctx, cmd)
		switch {
		case err == nil:
			return c.valueOf(data)
		case !again:
			return 0, fmt.Errorf("add to %s: %w", c.name, err)
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return 0, fmt.Errorf("add to %s: %w", c.name, err)
		case <-wait.C:
		}
	}
}

// valueOf reads the machine's answer.
func (c *Counter) valueOf(data []byte) (int64, error) {
	r := &counterpb.Result{}
	if err := proto.Unmarshal(data, r); err != nil {
		return 0, fmt.Errorf("the answer of %s cannot be read: %w", c.name, err)
	}
	switch r.GetOutcome() { //nolint:exhaustive // the others refuse
	case counterpb.Outcome_OUTCOME_OK:
		return r.GetValue(), nil
	case counterpb.Outcome_OUTCOME_TOO_OLD:
		return 0, fmt.Errorf("%w: %s: %s", ErrUnknown, c.name, r.GetDetail())
	}
	return 0, fmt.Errorf("%w: %s: %s", ErrRefused, c.name, r.GetDetail())
}

// decided tells whether an error is the group's last word on a command.
func decided(err error) bool { return errors.Is(err, ErrRefused) || errors.Is(err, ErrUnknown) }

// Value reads the value: it knows of everything that was counted in this region and
// acknowledged before; what Count counted and was not sent is not in it.
func (c *Counter) Value(ctx context.Context) (int64, error) {
	query, err := proto.Marshal(&counterpb.Query{Op: &counterpb.Query_Get{Get: &counterpb.Get{Key: c.key}}})
	if err != nil {
		return 0, fmt.Errorf("pack the query: %w", err)
	}
	data, err := c.group.Read(ctx, query)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", c.name, err)
	}
	a := &counterpb.Answer{}
	if err := proto.Unmarshal(data, a); err != nil {
		return 0, fmt.Errorf("the answer of %s cannot be read: %w", c.name, err)
	}
	if !a.GetFound() || len(a.GetCounters()) == 0 {
		return 0, nil
	}
	return a.GetCounters()[0].GetValue(), nil
}
