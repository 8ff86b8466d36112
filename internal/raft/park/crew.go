package park

import (
	"errors"
	"sync"

	"github.com/drumline/drumline/internal/ids"
)

// ErrClosed ends the jobs that a crew had not begun when it was closed.
var ErrClosed = errors.New("the host is being stopped")

// Crew does one kind of work on groups, on a few at a time. It has no goroutine while
// there is nothing to do.
type Crew struct {
	limit int
	do    func(ids.Group) error

	work sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	running int
	jobs    map[ids.Group]*Job
	// urgent and rest are what nobody has begun, in order; a job may be in both.
	urgent, rest []*Job
}

// Job is the work on one group; Err is set when Done is closed.
type Job struct {
	Done  chan struct{}
	Err   error
	group ids.Group
	// begun and urged are guarded by the crew's mutex.
	begun, urged bool
}

// NewCrew makes a crew that calls do for at most limit groups at a time.
func NewCrew(limit int, do func(ids.Group) error) *Crew {
	return &Crew{limit: limit, do: do, jobs: make(map[ids.Group]*Job)}
}

// Ask has the work done for a group, the urgent before the rest, and never waits.
// Whoever asks while it is asked for already shares the job.
func (c *Crew) Ask(g ids.Group, urgent bool) *Job {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		j := &Job{Done: make(chan struct{}), Err: ErrClosed}
		close(j.Done)
		return j
	}
	j := c.jobs[g]
	if j == nil {
		j = &Job{Done: make(chan struct{}), group: g}
		c.jobs[g] = j
		if !urgent {
			c.rest = append(c.rest, j)
		}
	}
	if urgent && !j.urged && !j.begun {
		j.urged = true
		c.urgent = append(c.urgent, j)
	}
	if c.running < c.limit {
		c.running++
		c.work.Go(c.run)
	}
	return j
}

// run works until nothing is left.
func (c *Crew) run() {
	for j := c.next(); j != nil; j = c.next() {
		j.Err = c.do(j.group)
		c.mu.Lock()
		delete(c.jobs, j.group)
		c.mu.Unlock()
		close(j.Done)
	}
}

// next takes a job; nil ends the caller's run.
func (c *Crew) next() *Job {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed {
		var j *Job
		switch {
		case len(c.urgent) > 0:
			j, c.urgent = c.urgent[0], c.urgent[1:]
		case len(c.rest) > 0:
			j, c.rest = c.rest[0], c.rest[1:]
		default:
			c.urgent, c.rest = nil, nil // and their memory
		}
		if j == nil {
			break
		}
		if !j.begun {
			j.begun = true
			return j
		}
	}
	c.running--
	return nil
}

// Close begins no more work and returns when none is going on; what was not begun
// fails with ErrClosed.
func (c *Crew) Close() {
	c.mu.Lock()
	c.closed = true
	for _, j := range c.jobs {
		if !j.begun {
			j.Err = ErrClosed
			close(j.Done)
		}
	}
	c.mu.Unlock()
	c.work.Wait()
}
