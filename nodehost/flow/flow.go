// Package flow is what the two-way streams of a host have in common: requests come one
// after the other and are answered in any order. It bounds what is taken, lets hands work
// side by side, sends together what is ready together, and ends in good order: whatever
// was taken is answered first.
//
//	f := flow.New(stream.Context(), limits, send)
//	end, err := f.Run(stopping, receive)
//
// receive reads from the stream; for each request it calls Take, then Hand with what
// answers it, which ends with Answer and Done. What finds no room waits at the other side,
// by HTTP/2's own flow control: the host reads no further.
package flow

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/fault"
)

const (
	// age is after how long a stream ends, to begin again on a connection that has today's
	// certificates; a part of it is drawn, so that not all do at once.
	age = time.Hour
	// idleHands is how many goroutines of a stream may wait for work.
	idleHands = 32
)

// Limits of one stream.
type Limits struct {
	// Items and Bytes bound what was taken and is not done. What comes alone finds room
	// whatever its size.
	Items, Bytes int
	// Held bounds the bytes of answers that are not sent: while there are more, nothing is
	// taken.
	Held int
	// FrameItems and FrameBytes bound the answers of one frame, which has one at least.
	FrameItems, FrameBytes int
}

// End is why a stream that was in order ended.
type End int

// Ends.
const (
	// Asked: the other side has sent all that it wanted to.
	Asked End = iota
	// Stopping: the host stops.
	Stopping
	// Old: the stream is old.
	Old
)

// Answer is what is sent; Size is about how many bytes it takes.
type Answer interface{ Size() int }

// Flow is one stream.
type Flow[A Answer] struct {
	ctx    context.Context
	limits Limits
	send   func([]A) error
	work   chan func() // to hands that are idle

	mu      sync.Mutex
	changed sync.Cond // on mu: something was done or sent, or the stream ends
	works   int       // guarded by mu: requests that were taken and are not done
	items   int       // guarded by mu: of those
	bytes   int       // guarded by mu: of those
	held    int       // guarded by mu: bytes of answers that are not sent
	idle    int       // guarded by mu: hands that wait for work
	closing bool      // guarded by mu: nothing more is taken
	out     []A       // guarded by mu: answers to be sent
	sending bool      // guarded by mu: somebody sends
	err     error     // guarded by mu: why sending failed

	hands sync.WaitGroup // Add only for what was taken, before it is done
}

// New makes the Flow of a stream whose context ctx is. send sends a frame; it is called by
// one goroutine at a time.
func New[A Answer](ctx context.Context, l Limits, send func([]A) error) *Flow[A] {
	f := &Flow[A]{ctx: ctx, limits: l, send: send, work: make(chan func())}
	f.changed.L = &f.mu
	return f
}

// Run calls receive, which reads from the stream until it ends or Take is false, and
// returns when that has ended, or the host stops, or the stream is old, and all that was
// taken is answered. An error is what receive says, EOF excepted, or that of the stream.
func (f *Flow[A]) Run(stopping <-chan struct{}, receive func() error) (End, error) {
	unwatch := context.AfterFunc(f.ctx, f.wake)
	defer unwatch()
	old := time.NewTimer(age - rand.N(age/4))
	defer old.Stop()
	// The receiver can't be called back from the stream before this returns, so nobody waits
	// for it: it ends right after, and takes nothing once closing is set.
	received := make(chan error, 1)
	go func() { received <- receive() }()
	end := Asked
	var err error
	select {
	case err = <-received:
	case <-stopping:
		end = Stopping
	case <-old.C:
		end = Old
	}
	sent := f.close()
	close(f.work)
	f.hands.Wait()
	switch {
	case f.ctx.Err() != nil:
		return end, fault.Wrap(f.ctx.Err(), fault.Unavailable, "the stream was cut off")
	case sent != nil:
		return end, fault.Wrap(sent, fault.Unavailable, "send answers")
	case errors.Is(err, io.EOF):
		return end, nil
	}
	return end, err
}

// wake lets all who wait look again.
func (f *Flow[A]) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed.Broadcast()
}

// close takes nothing more and waits until all that was taken is answered. It returns why
// sending failed, if it did.
func (f *Flow[A]) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closing = true
	f.changed.Broadcast()
	for f.works > 0 || f.sending {
		f.changed.Wait()
	}
	return f.err
}

// Take waits until there is room for a request of so many items and bytes, and takes it:
// Done gives the room back. false means that nothing is taken any more, because the stream
// ends. Only the receiver calls it.
func (f *Flow[A]) Take(items, bytes int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.full(items, bytes) && !f.over() {
		f.changed.Wait()
	}
	if f.over() {
		return false
	}
	f.works++
	f.items += items
	f.bytes += bytes
	return true
}

// full tells whether a request has to wait; mu is held.
func (f *Flow[A]) full(items, bytes int) bool {
	return f.works > 0 && (f.items+items > f.limits.Items || f.bytes+bytes > f.limits.Bytes || f.held > f.limits.Held)
}

// over tells whether nothing more is to be taken; mu is held.
func (f *Flow[A]) over() bool { return f.closing || f.err != nil || f.ctx.Err() != nil }

// Done gives back the room of what was taken, once it is answered.
func (f *Flow[A]) Done(items, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.works--
	f.items -= items
	f.bytes -= bytes
	f.changed.Broadcast()
}

// Hand lets somebody do what was taken, beside all others. Only the receiver calls it.
func (f *Flow[A]) Hand(do func()) {
	f.mu.Lock()
	idle := f.idle > 0
	if idle {
		f.idle--
	}
	f.mu.Unlock()
	if idle {
		f.work <- do // somebody is there, or on the way
		return
	}
	f.hands.Go(func() { f.hand(do) })
}

// hand does one thing after the other, while there are some.
func (f *Flow[A]) hand(do func()) {
	for do != nil {
		do()
		do = f.next()
	}
}

// next waits for what is to be done next; nil if nothing comes, or enough others wait.
func (f *Flow[A]) next() func() {
	f.mu.Lock()
	if f.idle >= idleHands || f.closing {
		f.mu.Unlock()
		return nil
	}
	f.idle++
	f.mu.Unlock()
	return <-f.work
}

// Reserve waits until so many bytes of answers may be held, which Release gives back;
// false when nobody takes answers any more.
func (f *Flow[A]) Reserve(bytes int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.held > 0 && f.held+bytes > f.limits.Held && f.err == nil && f.ctx.Err() == nil {
		f.changed.Wait()
	}
	if f.err != nil || f.ctx.Err() != nil {
		return false
	}
	f.held += bytes
	return true
}

// Release gives back what Reserve gave.
func (f *Flow[A]) Release(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held -= bytes
	f.changed.Broadcast()
}

// Answer puts answers into the queue, and sends what is there unless somebody does.
func (f *Flow[A]) Answer(answers ...A) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range answers {
		f.held += a.Size()
	}
	f.out = append(f.out, answers...)
	if f.sending {
		return
	}
	f.sending = true
	for len(f.out) > 0 && f.err == nil {
		f.sendSome()
	}
	f.sending = false
	f.changed.Broadcast()
}

// sendSome sends a frame of what is in the queue; mu is held, but not while it sends.
func (f *Flow[A]) sendSome() {
	f.mu.Unlock()
	// Hands that have just got their answers come to the queue: a moment of patience lets
	// them share the frame.
	runtime.Gosched()
	f.mu.Lock()
	n, size := 0, 0
	for n < len(f.out) && (n == 0 || n < f.limits.FrameItems && size+f.out[n].Size() <= f.limits.FrameBytes) {
		size += f.out[n].Size()
		n++
	}
	frame := f.out[:n:n]
	if f.out = f.out[n:]; len(f.out) == 0 {
		f.out = nil
	}
	f.mu.Unlock()
	err := f.send(frame)
	f.mu.Lock()
	f.held -= size
	if err != nil {
		f.err, f.out = err, nil
	}
	f.changed.Broadcast()
}
