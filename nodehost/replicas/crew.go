package replicas

import "sync"

// crew runs jobs on at most limit goroutines, in order of arrival. Its queue has no
// bound of its own: there is at most one job per replica in it. Idle, it has no
// goroutine at all.
type crew struct {
	limit int

	mu     sync.Mutex
	queue  []func()
	active int
	wg     sync.WaitGroup
}

// run hands a job over and does not wait.
func (c *crew) run(job func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active >= c.limit {
		c.queue = append(c.queue, job)
		return
	}
	c.active++
	c.wg.Go(func() { c.work(job) })
}

func (c *crew) work(job func()) {
	for job != nil {
		job()
		job = c.next()
	}
}

func (c *crew) next() func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.active--
		return nil
	}
	job := c.queue[0]
	c.queue = c.queue[1:]
	return job
}

// wait returns when everything handed over is done; nothing is handed over meanwhile.
func (c *crew) wait() { c.wg.Wait() }
