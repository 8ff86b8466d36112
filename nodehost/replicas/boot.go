package replicas

import (
	"fmt"
	"slices"
	"time"
)

// boot is the start of what the manifest lists, batch by batch.
type boot struct {
	// found is the marker that an earlier process left: it died while those started.
	found []Key
	begun bool
	done  bool
	// queue waits in key order, the suspects behind all others.
	queue []Key
	// batch is starting behind the marker.
	batch []Key
	// until is when the batch is no longer waited for.
	until time.Duration
	// marker is what is saved now.
	marker []Key
}

// beginBoot blames the found marker, resumes destructions and fills the queue.
func (c *Core) beginBoot() {
	if c.boot.begun {
		return
	}
	c.boot.begun = true
	c.boot.marker = c.boot.found
	c.blame()
	var suspects []Key
	for _, k := range c.Keys() {
		r := c.replicas[k]
		switch {
		case r.busy || r.started:
			// an order of before the boot has started it
		case r.Life == Destroying:
			c.beginDestroy(r)
		case r.Crashes >= maxCrashes:
			r.detail = fmt.Sprintf("kept down: the process died %d times while this replica alone was starting; it must be replaced", r.Crashes)
			c.do(Changed{Key: k})
		case r.suspicious():
			suspects = append(suspects, k)
		default:
			c.boot.queue = append(c.boot.queue, k)
		}
	}
	c.boot.queue = append(c.boot.queue, suspects...)
}

// blame marks what was starting when the process died: one alone is counted, of
// several nobody knows which, so each starts alone this time.
func (c *Core) blame() {
	for _, k := range c.boot.found {
		r := c.replicas[k]
		if r == nil || r.Life == Destroying {
			continue
		}
		r.Suspect = true
		if len(c.boot.found) == 1 {
			r.Crashes++
		}
		c.save(r)
	}
}

// goOnBooting starts the next batch when the last one is through, or late: what
// hangs in its recovery must not keep the others down.
func (c *Core) goOnBooting(now time.Duration) {
	b := &c.boot
	if !b.begun || b.done {
		return
	}
	b.batch = slices.DeleteFunc(b.batch, c.through)
	if len(b.batch) > 0 && now < b.until {
		return
	}
	b.batch = c.nextBatch()
	c.mark(b.batch)
	if len(b.batch) == 0 {
		b.done = true
		c.do(Booted{})
		return
	}
	b.until = now + c.self.ReadyAfter
	for _, k := range b.batch {
		c.begin(c.replicas[k])
	}
}

// nextBatch takes from the queue; a suspect goes alone.
func (c *Core) nextBatch() []Key {
	b := &c.boot
	var batch []Key
	for len(b.queue) > 0 && len(batch) < c.self.Batch {
		k := b.queue[0]
		r := c.replicas[k]
		if r == nil || r.Life == Destroying || r.busy || r.started {
			b.queue = b.queue[1:] // an order was faster
			continue
		}
		if r.suspicious() && len(batch) > 0 {
			break
		}
		b.queue = b.queue[1:]
		batch = append(batch, k)
		if r.suspicious() {
			break
		}
	}
	return batch
}

// suspicious tells that the process may have died of starting this one. One that
// an order was starting when the process ended counts: no marker was set for it.
func (r *replica) suspicious() bool { return r.Suspect || r.Life == Starting }

// through tells that a replica of the batch needs the marker no more: it is up, or
// failed in order, or is not to run at all.
func (c *Core) through(k Key) bool {
	r := c.replicas[k]
	return r == nil || r.up || r.fell || r.Life == Destroying || r.retryAt != 0
}

// mark saves the marker when it differs from what is saved.
func (c *Core) mark(keys []Key) {
	if slices.Equal(keys, c.boot.marker) {
		return
	}
	m := slices.Clone(keys)
	c.boot.marker = m
	c.do(Save{Marker: &m})
}
