package route

import (
	"context"
	"errors"
	"sync"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

// How drummers are spared: one question at a time for each group, whoever asks; an
// answer, also "no such group", serves for a second those who did not have it yet.
const (
	askTimeout   = 3 * time.Second
	answerFresh  = time.Second
	failureFresh = 250 * time.Millisecond
	keptAnswers  = 4096
)

// asker asks where groups are.
type asker struct {
	locator Locator
	life    context.Context // ends with close
	stop    context.CancelFunc
	running sync.WaitGroup // Add only under mu

	mu      sync.Mutex
	closed  bool              // guarded by mu
	answers map[key]*question // guarded by mu
}

// key is what is asked for.
type key struct {
	name string
	id   uint64
}

// question is one question, under way or answered.
type question struct {
	begun time.Time
	done  chan struct{} // closed with the answer; the fields below are set before
	where *hostpb.Location
	err   error
}

// newAsker asks through l.
func newAsker(l Locator) *asker {
	life, stop := context.WithCancel(context.Background())
	return &asker{locator: l, life: life, stop: stop, answers: map[key]*question{}}
}

// ask returns a drummer's answer that is not older than age, asking if need be.
func (a *asker) ask(ctx context.Context, ref *hostpb.GroupRef, age time.Duration) (*hostpb.Location, error) {
	q := a.join(ref, age)
	select {
	case <-q.done:
		return q.where, q.err
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "no drummer said in time where group %s is", title(ref.GetName(), ref.GetId()))
	}
}

// join returns a question to wait for: one that is fresh enough, or a new one.
func (a *asker) join(ref *hostpb.GroupRef, age time.Duration) *question {
	k := key{name: ref.GetName(), id: ref.GetId()}
	a.mu.Lock()
	defer a.mu.Unlock()
	if q := a.answers[k]; q != nil && q.serves(age) {
		return q
	}
	q := &question{begun: time.Now(), done: make(chan struct{})}
	if a.closed {
		q.err = fault.New(fault.Unavailable, "the host is stopping")
		close(q.done)
		return q
	}
	a.forget()
	a.answers[k] = q
	a.running.Go(func() { a.run(q, ref) })
	return q
}

// serves tells whether the question serves a caller who wants that age.
func (q *question) serves(age time.Duration) bool {
	select {
	case <-q.done:
	default:
		return true
	}
	if q.err != nil && !fault.Is(q.err, fault.GroupNotFound) {
		age = min(age, failureFresh)
	}
	return time.Since(q.begun) <= age
}

// run asks, independently of the callers' contexts: others may have joined.
func (a *asker) run(q *question, ref *hostpb.GroupRef) {
	ctx, cancel := context.WithTimeout(a.life, askTimeout)
	defer cancel()
	defer close(q.done)
	q.where, q.err = a.locator.Locate(ctx, ref)
	switch {
	case q.err == nil && q.where.GetId() == 0:
		q.err = fault.New(fault.Unavailable, "a drummer answered without saying where group %s is", title(ref.GetName(), ref.GetId()))
	case q.err != nil && fault.Of(q.err) == nil:
		q.err = fault.Wrap(q.err, fault.Unavailable, "ask a drummer where group %s is", title(ref.GetName(), ref.GetId()))
	case errors.Is(q.err, context.DeadlineExceeded):
		q.err = fault.Wrap(q.err, fault.Unavailable, "no drummer answers")
	}
}

// forget drops old answers when there are many; mu is held.
func (a *asker) forget() {
	if len(a.answers) < keptAnswers {
		return
	}
	for k, q := range a.answers {
		if !q.serves(answerFresh) {
			delete(a.answers, k)
		}
	}
}

// close ends the questions under way and waits for them; idempotent.
func (a *asker) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.running.Wait()
}
