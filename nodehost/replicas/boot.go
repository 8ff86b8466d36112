package replicas

import (
	"slices"
	"time"

	"github.com/drumline/drumline/nodehost/replicas/life"
)

// boot is the start of what the manifest lists, in key order through a window.
type boot struct {
	// found is the marker that an earlier process left: it died while those started.
	found []Key
	begun bool
	done  bool
	// queue waits in key order, the suspects behind all others.
	queue []Key
	// total is how many there were to start.
	total int
	// window is starting, all of it that can end the process behind the marker; after the
	// boot it is the one replica that is tried again.
	window []starting
	// marker is what is saved now.
	marker []Key
}

// starting is a replica that holds a place in the window.
type starting struct {
	key Key
	// until is when it is no longer waited for: what hangs in its recovery must not
	// keep the others down.
	until time.Duration
}

// beginBoot blames the found marker, resumes destructions and fills the queue.
func (c *Core) beginBoot(now time.Duration) {
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
		case r.Life == life.Destroying:
			c.beginDestroy(r)
		case r.Life == life.Retired:
		case r.Crashes >= maxCrashes:
			c.keepDown(r, now)
		case r.suspicious():
			suspects = append(suspects, k)
		default:
			c.boot.queue = append(c.boot.queue, k)
		}
	}
	c.boot.queue = append(c.boot.queue, suspects...)
	c.boot.total = len(c.boot.queue)
}

// blame marks what was starting when the process died: one alone is counted, of
// several nobody knows which, so each starts alone this time.
func (c *Core) blame() {
	for _, k := range c.boot.found {
		r := c.replicas[k]
		if r == nil || r.Life == life.Destroying {
			continue
		}
		r.Suspect = true
		if len(c.boot.found) == 1 {
			r.Crashes++
		}
		c.save(r)
	}
}

// goOnBooting fills the window again when half of it is through, so that there is
// always something to start while the marker is being saved.
func (c *Core) goOnBooting(now time.Duration) {
	b := &c.boot
	if b.done {
		c.endTrial(now)
	}
	if !b.begun || b.done {
		return
	}
	b.window = slices.DeleteFunc(b.window, func(s starting) bool { return now >= s.until || c.through(s.key) })
	if len(b.window) > c.self.Batch/2 || len(b.window) > 0 && (len(b.queue) == 0 || c.alone()) {
		return
	}
	next := c.nextBatch()
	for _, k := range next {
		b.window = append(b.window, starting{k, now + c.self.ReadyAfter})
	}
	c.mark()
	for _, k := range next {
		c.begin(c.replicas[k])
	}
	if len(b.window) == 0 {
		b.done, b.window, b.queue = true, nil, nil
		c.do(Booted{})
	}
}

// alone tells whether a suspect has the window to itself.
func (c *Core) alone() bool { return c.replicas[c.boot.window[0].key].suspicious() }

// nextBatch takes from the queue what there is room for; a suspect goes alone.
func (c *Core) nextBatch() []Key {
	b := &c.boot
	var batch []Key
	for len(b.queue) > 0 && len(b.window)+len(batch) < c.self.Batch {
		k := b.queue[0]
		r := c.replicas[k]
		if r == nil || r.Life == life.Destroying || r.Life == life.Retired || r.busy || r.started {
			b.queue = b.queue[1:] // an order was faster
			continue
		}
		if r.suspicious() && len(b.window)+len(batch) > 0 {
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
func (r *replica) suspicious() bool { return r.Suspect || r.Life == life.Starting }

// parks tells that a replica is not loaded by its start: it waits until it is used.
func (c *Core) parks(r *replica) bool {
	return c.self.Unloads && r.Unloaded && r.Life != life.Retiring && !r.suspicious()
}

// through tells that a replica of the window needs its place no more: it is up, or
// failed in order, or is not to run at all.
func (c *Core) through(k Key) bool {
	r := c.replicas[k]
	return r == nil || r.up || r.fell || r.Life == life.Destroying || r.Life == life.Retired || r.retryAt != 0
}

// mark saves the marker when it differs from what is saved. What is not loaded can't
// end the process, so thousands that sleep cost no commit.
func (c *Core) mark() {
	var keys []Key
	for _, s := range c.boot.window {
		if r := c.replicas[s.key]; !c.parks(r) {
			keys = append(keys, s.key)
		}
	}
	if slices.Equal(keys, c.boot.marker) {
		return
	}
	c.boot.marker = keys
	c.do(Save{Marker: &keys})
}

// Progress is how far the start of the manifest's replicas is.
type Progress struct {
	// Begun and Done tell whether it has begun, and ended.
	Begun, Done bool
	// Total is how many there are to start, Through how many of them are up or were
	// left for later because they fail or hang.
	Total, Through int
}

// Progress of the boot.
func (c *Core) Progress() Progress {
	b := &c.boot
	if b.done {
		return Progress{Begun: true, Done: true, Total: b.total, Through: b.total} // whatever is tried again since
	}
	return Progress{Begun: b.begun, Total: b.total, Through: b.total - len(b.queue) - len(b.window)}
}
