package route

import (
	"context"
	"errors"
	"sync"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route/refs"
)

// How drummers are spared: one question at a time for each group, whoever asks, and a
// bounded number in all; an answer, also "no such group", serves for a second those who
// did not have it yet. So neither a crowd that wants one new name nor one that makes
// names up is more than drummers can bear.
const (
	askTimeout   = 3 * time.Second
	answerFresh  = time.Second
	failureFresh = 250 * time.Millisecond
	keptAnswers  = 4096
	atOnce       = 128
)

// asker asks where groups are.
type asker struct {
	locator Locator
	life    context.Context // ends with close
	stop    context.CancelFunc
	running sync.WaitGroup // Add only under mu
	// looks and uses have an element for each question under way of their kind: first
	// uses take as long as a launch, and must not keep others waiting.
	looks, uses turns

	mu      sync.Mutex
	closed  bool              // guarded by mu
	answers map[key]*question // guarded by mu
	many    int               // guarded by mu: with so many answers the old ones are dropped
}

// turns bounds what goes on at once.
type turns chan struct{}

// do runs f when it is its turn.
func (t turns) do(ctx context.Context, f func() (*hostpb.Location, error)) (*hostpb.Location, error) {
	select {
	case t <- struct{}{}:
		defer func() { <-t }()
		return f()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// key is what is asked for: a group by its name or by its number.
type key struct {
	name string // full
	id   uint64
	use  bool // the name is used, so the group may be made
}

// ref is the key as drummers want it.
func (k key) ref() *hostpb.GroupRef {
	ref := refs.Of(k.name)
	ref.Id = k.id
	return ref
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
	return &asker{locator: l, life: life, stop: stop, looks: make(turns, atOnce), uses: make(turns, atOnce), answers: map[key]*question{}, many: keptAnswers}
}

// ask returns a drummer's answer that is not older than age, asking if need be.
func (a *asker) ask(ctx context.Context, k key, age time.Duration) (*hostpb.Location, error) {
	q := a.join(k, age)
	select {
	case <-q.done:
		return q.where, q.err
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "no drummer said in time where group %s is", refs.Title(k.name, k.id))
	}
}

// join returns a question to wait for: one that is fresh enough, or a new one.
func (a *asker) join(k key, age time.Duration) *question {
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
	a.running.Go(func() { a.run(q, k) })
	return q
}

// serves tells whether the question serves a caller who wants that age.
func (q *question) serves(age time.Duration) bool {
	select {
	case <-q.done:
	default:
		return true
	}
	if q.err != nil && !fault.Is(q.err, fault.GroupNotFound) && !fault.Is(q.err, fault.Limit) {
		age = min(age, failureFresh)
	}
	return time.Since(q.begun) <= age
}

// run asks, independently of the callers' contexts: others may have joined.
func (a *asker) run(q *question, k key) {
	ctx, cancel := context.WithTimeout(a.life, askTimeout)
	defer cancel()
	defer close(q.done)
	q.where, q.err = a.put(ctx, k)
	switch {
	case q.err == nil && q.where.GetId() == 0:
		q.err = fault.New(fault.Unavailable, "a drummer answered without saying where group %s is", refs.Title(k.name, k.id))
	case q.err != nil && fault.Of(q.err) == nil:
		q.err = fault.Wrap(q.err, fault.Unavailable, "ask a drummer where group %s is", refs.Title(k.name, k.id))
	case errors.Is(q.err, context.DeadlineExceeded):
		q.err = fault.Wrap(q.err, fault.Unavailable, "no drummer answers")
	}
}

// put puts a question when it is its turn. That a group is not there, or not open yet,
// is no answer to somebody who uses it: its first use may make it, and a drummer says so
// as soon as it is open.
func (a *asker) put(ctx context.Context, k key) (*hostpb.Location, error) {
	where, err := a.looks.do(ctx, func() (*hostpb.Location, error) { return a.locator.Locate(ctx, k.ref()) })
	if k.use && (fault.Is(err, fault.GroupNotFound) || fault.Is(err, fault.NotOpen)) {
		return a.uses.do(ctx, func() (*hostpb.Location, error) { return a.locator.FirstUse(ctx, k.name) })
	}
	return where, err
}

// forget drops old answers when there are many; mu is held.
func (a *asker) forget() {
	if len(a.answers) < a.many {
		return
	}
	for k, q := range a.answers {
		if !q.serves(answerFresh) {
			delete(a.answers, k)
		}
	}
	a.many = max(keptAnswers, 2*len(a.answers)) // not again before as many have come
}

// close ends the questions under way and waits for them; idempotent.
func (a *asker) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.running.Wait()
}
