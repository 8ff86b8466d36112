package sequence

import (
	"context"
	"errors"
	"time"
)

// Errors of a Sequence; use errors.Is.
var (
	// ErrClosed: the Sequence was closed.
	ErrClosed = errors.New("the sequence client is closed")
	// ErrExhausted: there are no numbers left, or fewer than the whole that was asked for.
	ErrExhausted = errors.New("the sequence is exhausted")
	// ErrDifferent: the sequence is not the one that this client got its numbers from. It
	// was dropped and made anew, or this is another cluster. It stays.
	ErrDifferent = errors.New("this is a different sequence, or another cluster")
	// ErrRefused: the group refuses the request; the text says why.
	ErrRefused = errors.New("the sequence refuses")
)

// Group is the group of the sequence; client.Client makes one.
type Group interface {
	// Propose applies a command. again tells, with an error, whether sending the same
	// command again may help.
	Propose(ctx context.Context, cmd []byte) (data []byte, again bool, err error)
}

// Defaults of the options.
const (
	DefaultTimeout  = 4 * time.Second
	DefaultLasting  = 3 * time.Second
	DefaultMaxRange = 1 << 20
	// leastRange is where fitting begins, unless the sequence has a hint.
	leastRange = 64
	// mostAhead is how many ranges are had ahead when one does not last long.
	mostAhead = 6
	// closing bounds Close.
	closing = 900 * time.Millisecond
)

// options of New.
type options struct {
	buffer   uint64 // numbers of a range; 0: by the mode
	room     int    // of the channel of Stream
	timeout  time.Duration
	lasting  time.Duration
	maxRange uint64
	failBack bool // TimeIDs fails while the clock is behind
}

// gather is the options with all defaults.
func gather(opts []Option) options {
	o := options{timeout: DefaultTimeout, lasting: DefaultLasting, maxRange: DefaultMaxRange}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Option changes how a Sequence takes ranges.
type Option func(*options)

// Buffer takes ranges of n numbers ahead, whatever the mode; less than 1 takes only
// what callers wait for.
func Buffer(n int) Option {
	return func(o *options) { o.buffer, o.room = uint64(max(n, 1)), max(n, 0) }
}

// Timeout is how long one try to get a range may take; the range is then asked for again.
func Timeout(d time.Duration) Option {
	return func(o *options) { o.timeout = max(d, time.Millisecond) }
}

// Lasting is how long a range of a cached sequence should last: ranges grow and shrink
// with the rate until they do.
func Lasting(d time.Duration) Option {
	return func(o *options) { o.lasting = max(d, time.Millisecond) }
}

// MaxRange bounds the ranges of a cached sequence.
func MaxRange(n uint64) Option {
	return func(o *options) { o.maxRange = max(n, 1) }
}
