package flow_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/flow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// word is an answer of so many bytes.
type word string

func (w word) Size() int { return len(w) }

// errCut is why the other side can't be reached.
var errCut = errors.New("cut off")

// line is a stream: requests come from a channel, frames are noted.
type line struct {
	*flow.Flow[word]
	requests chan func()

	mu     sync.Mutex
	frames [][]word
	fail   error
	gate   chan struct{} // unless nil, frames wait for it
}

func newLine(ctx context.Context, l flow.Limits) *line {
	n := &line{requests: make(chan func())}
	n.Flow = flow.New(ctx, l, n.send)
	return n
}

func (n *line) send(frame []word) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frames = append(n.frames, frame)
	gate, fail := n.gate, n.fail
	if gate != nil {
		n.mu.Unlock()
		<-gate
		n.mu.Lock()
	}
	return fail
}

func (n *line) sent() (words []word) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.frames {
		words = append(words, f...)
	}
	return words
}

// receive takes requests of one item until there are no more, as a handler's does.
func (n *line) receive() error {
	for do := range n.requests {
		if !n.Take(1, 0) {
			return nil
		}
		n.Hand(func() {
			defer n.Done(1, 0)
			do()
		})
	}
	return io.EOF
}

// served runs it; what comes back are its ends.
func (n *line) served(stopping <-chan struct{}) func() (flow.End, error) {
	type ended struct {
		end flow.End
		err error
	}
	all := make(chan ended, 1)
	go func() {
		end, err := n.Run(stopping, n.receive)
		all <- ended{end, err}
	}()
	return func() (flow.End, error) { e := <-all; return e.end, e.err }
}

func wide() flow.Limits {
	return flow.Limits{Items: 100, Bytes: 1000, Held: 1000, FrameItems: 100, FrameBytes: 1000}
}

func TestAllIsAnsweredBeforeTheEnd(t *testing.T) {
	for what, stop := range map[string]struct {
		end  flow.End
		stop func(n *line, stopping chan struct{})
	}{
		"it has asked all":  {flow.Asked, func(n *line, _ chan struct{}) { close(n.requests) }},
		"the host is going": {flow.Stopping, func(_ *line, stopping chan struct{}) { close(stopping) }},
	} {
		t.Run(what, func(t *testing.T) {
			n, stopping, gate := newLine(t.Context(), wide()), make(chan struct{}), make(chan struct{})
			ended := n.served(stopping)
			for range 50 {
				n.requests <- func() { <-gate; n.Answer("a", "b") }
			}
			stop.stop(n, stopping)
			close(gate)
			end, err := ended()
			require.NoError(t, err)
			require.Equal(t, stop.end, end)
			if stop.end == flow.Asked {
				require.Len(t, n.sent(), 100)
				return
			}
			require.Zero(t, len(n.sent())%2, "what was taken is answered whole")
			close(n.requests) // the receiver, which a real stream would end
		})
	}
}

func TestNoMoreIsTakenThanThereIsRoom(t *testing.T) {
	for what, c := range map[string]struct {
		limits       flow.Limits
		items, bytes int
	}{
		"items": {flow.Limits{Items: 10, Bytes: 1000, Held: 1000}, 6, 1},
		"bytes": {flow.Limits{Items: 1000, Bytes: 10, Held: 1000}, 1, 6},
	} {
		t.Run(what, func(t *testing.T) {
			n := newLine(t.Context(), c.limits)
			require.True(t, n.Take(1000, 1000), "whatever comes alone finds room")
			n.Done(1000, 1000)
			require.True(t, n.Take(c.items, c.bytes))
			second := make(chan bool)
			go func() { second <- n.Take(c.items, c.bytes) }()
			select {
			case <-second:
				require.Fail(t, "there is no room")
			case <-time.After(20 * time.Millisecond):
			}
			n.Done(c.items, c.bytes)
			require.True(t, <-second)
		})
	}
}

// While answers are not sent, nothing is taken and none more are read.
func TestHeldAnswersAreBounded(t *testing.T) {
	l := wide()
	l.Held = 10
	n := newLine(t.Context(), l)
	n.gate = make(chan struct{})
	require.True(t, n.Take(1, 0))
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		n.Answer("eleven bytes")
	}()
	require.Eventually(t, func() bool { return len(n.sent()) == 1 }, 20*time.Second, time.Millisecond)
	taken, reserved := make(chan bool), make(chan bool)
	go func() { taken <- n.Take(1, 0) }()
	go func() { reserved <- n.Reserve(5) }()
	select {
	case <-taken:
		require.Fail(t, "taken")
	case <-reserved:
		require.Fail(t, "reserved")
	case <-time.After(20 * time.Millisecond):
	}
	close(n.gate)
	require.True(t, <-taken)
	require.True(t, <-reserved)
	n.Release(5)
	<-answered
}

func TestFramesAreBounded(t *testing.T) {
	l := wide()
	l.FrameItems, l.FrameBytes = 3, 10
	n := newLine(t.Context(), l)
	require.True(t, n.Take(1, 0))
	n.Answer("1", "2", "3", "4", "five55", "six666", "a word longer than a frame", "8")
	require.Equal(t, [][]word{{"1", "2", "3"}, {"4", "five55"}, {"six666"}, {"a word longer than a frame"}, {"8"}}, n.frames)
}

func TestAStreamThatBreaks(t *testing.T) {
	t.Run("it is cut off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := newLine(ctx, wide())
		ended := n.served(nil)
		taken := make(chan struct{})
		n.requests <- func() { close(taken); <-ctx.Done() }
		<-taken
		cancel()
		close(n.requests)
		_, err := ended()
		require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, n.Take(1, 1))
	})
	t.Run("answers can't be sent", func(t *testing.T) {
		n := newLine(t.Context(), wide())
		n.fail = errCut
		ended := n.served(nil)
		n.requests <- func() { n.Answer("a"); n.Answer("b") }
		n.requests <- func() {}
		close(n.requests)
		_, err := ended()
		require.ErrorIs(t, err, errCut)
		require.Len(t, n.sent(), 1, "nothing is sent after that")
		require.False(t, n.Reserve(1))
	})
	t.Run("it breaks the rules", func(t *testing.T) {
		n := newLine(t.Context(), wide())
		_, err := n.Run(nil, func() error { return fault.New(fault.Invalid, "no lot") })
		require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	})
}

// Hands are used again, and as many as are needed work side by side.
func TestHandsWorkSideBySide(t *testing.T) {
	n := newLine(t.Context(), wide())
	ended := n.served(nil)
	for range 3 {
		var meet sync.WaitGroup
		meet.Add(50)
		var gone sync.WaitGroup
		gone.Add(50)
		for range 50 {
			n.requests <- func() { defer gone.Done(); meet.Done(); meet.Wait() }
		}
		gone.Wait()
	}
	close(n.requests)
	_, err := ended()
	require.NoError(t, err)
}
