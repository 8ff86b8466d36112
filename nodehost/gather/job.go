package gather

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/fault"
)

// worthIt is the time that a caller must have left for another trip.
const worthIt = 100 * time.Millisecond

// Job is what one call asks of one group; Do fills in its Outcome.
type Job[Q, A any] struct {
	Group string
	Ask   Q
	Outcome[A]

	call *call
	// flying and settled are guarded by call.mu: the job is on a trip, or over.
	flying, settled bool
}

// call is the jobs of one caller.
type call struct {
	ctx  context.Context
	mu   sync.Mutex // taken with a queue's mu held
	open int        // guarded by mu: jobs that are not settled
	left bool       // guarded by mu: the caller has gone
	// trips that its jobs were taken along on; guarded by mu until open is 0 or the caller
	// has gone, and not changed after that.
	trips []*trip
	one   [1]*trip // room for the trip of a call with one job
	done  chan struct{}
}

// over tells the trips of a call that it is over. It is told before the caller is, who may
// come again at once.
func (c *call) over() {
	for _, t := range c.trips {
		t.queue.callOver(t)
	}
}

// takeOff takes a job along on a trip, unless its caller has gone.
func (j *Job[Q, A]) takeOff(t *trip) bool {
	j.call.mu.Lock()
	defer j.call.mu.Unlock()
	if j.call.left {
		return false // it is the caller's again
	}
	j.flying = true
	j.call.trips = append(j.call.trips, t)
	return true
}

// putBack keeps a job that came back undone for another trip, if there is time, with the
// error that its caller is told if there is no other. A job whose outcome nobody knows stays
// one whatever is said of the next trip.
func (j *Job[Q, A]) putBack(err error) bool {
	j.call.mu.Lock()
	defer j.call.mu.Unlock()
	end, ok := j.call.ctx.Deadline()
	if j.call.left || ok && time.Until(end) < worthIt {
		return false
	}
	j.flying = false
	if !fault.Is(j.Err, fault.UnknownOutcome) {
		j.Err = err
	}
	return true
}

// settle ends a job, if its caller is still there, and tells whether it was the last of its
// call: then that is over, and is to be told.
func (j *Job[Q, A]) settle(o Outcome[A]) (last bool) {
	c := j.call
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || j.settled {
		return false
	}
	j.Outcome, j.settled = o, true
	c.open--
	return c.open == 0
}

// tell tells callers that their calls are over. Their trips hear of it first.
func tell(calls []*call) {
	for _, c := range calls {
		c.over()
	}
	for _, c := range calls {
		close(c.done)
	}
}

// leave ends a call whose context has ended: nothing is written to its jobs after it.
func (g *Gather[Q, A]) leave(c *call, jobs []Job[Q, A]) {
	if g.desert(c, jobs) {
		c.over()
	}
}

// desert leaves the jobs that are not settled, and tells whether there were any: if not,
// the call was over before.
func (g *Gather[Q, A]) desert(c *call, jobs []Job[Q, A]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	for i := range jobs {
		if j := &jobs[i]; !j.settled {
			j.Outcome = Outcome[A]{Err: g.late(j)}
		}
	}
	return c.open > 0
}

// late says what may have become of a job whose caller leaves.
func (g *Gather[Q, A]) late(j *Job[Q, A]) error {
	cause := j.call.ctx.Err()
	switch {
	case j.flying:
		return fault.Wrap(cause, fault.UnknownOutcome, "group %s did not answer in time: the %s may or may not be %s", j.Group, g.o.Noun, g.o.Verb).InGroup(j.Group)
	case j.Err != nil && !errors.Is(cause, context.Canceled):
		return j.Err
	}
	return fault.Wrap(cause, fault.Deadline, "the %s did not get its turn in group %s and was not %s", g.o.Noun, j.Group, g.o.Verb).InGroup(j.Group)
}
