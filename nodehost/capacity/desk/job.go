package desk

import (
	"context"
	"errors"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/internal/fault"
)

// worthIt is the time that a caller must have left for another proposal.
const worthIt = 100 * time.Millisecond

// takeOff puts a job into a proposal, unless its caller has gone.
func (j *Job) takeOff() bool {
	j.call.mu.Lock()
	defer j.call.mu.Unlock()
	j.flying = !j.call.left
	return j.flying
}

// putBack keeps a job that came back undecided for another proposal, if there is time, with
// the error that its caller is told if there is no other. A job whose outcome nobody knows
// stays one whatever is said of the next proposal.
func (j *Job) putBack(err error) bool {
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

// settle ends a job, if its caller is still there.
func (j *Job) settle(grants []*capacitypb.Grant, err error) {
	c := j.call
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || j.settled {
		return
	}
	j.Grants, j.Err, j.settled = grants, err, true
	if c.open--; c.open == 0 {
		close(c.done)
	}
}

// leave ends a call whose context has ended: nothing is written to its jobs after it.
func (c *call) leave(jobs []*Job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	for _, j := range jobs {
		if !j.settled {
			j.Grants, j.Err = nil, j.late()
		}
	}
}

// late says what may have become of a job whose caller leaves.
func (j *Job) late() error {
	cause := j.call.ctx.Err()
	switch {
	case j.flying:
		return fault.Wrap(cause, fault.UnknownOutcome, "group %s did not answer in time: the request may or may not be decided", j.Group).InGroup(j.Group)
	case j.Err != nil && !errors.Is(cause, context.Canceled):
		return j.Err
	}
	return fault.Wrap(cause, fault.Deadline, "the request did not get its turn in group %s and was not decided", j.Group).InGroup(j.Group)
}

// fail settles jobs with one error.
func fail(jobs []*Job, err error) {
	for _, j := range jobs {
		j.settle(nil, err)
	}
}
