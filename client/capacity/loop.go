package capacity

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// largestRequest bounds the resources of one request.
const largestRequest = 1000

// run sends what is due until the client is closed. It is the only one that begins requests.
func (c *Client) run() {
	// Not a timer of no time at all: when several goroutines of a synctest bubble look at
	// such timers at once, Go 1.26's runtime crashes under the race detector.
	timer := time.NewTimer(c.pass())
	defer timer.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		timer.Reset(c.pass())
	}
}

// pass announces leases that ended, sends what is due, and returns how long nothing will be.
func (c *Client) pass() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return longestSilent
	}
	now := c.now()
	for _, r := range c.open {
		r.look()
	}
	for _, batch := range batches(c.due(now)) {
		c.send(now, batch)
	}
	c.giveBack()
	return c.rest(now)
}

// due lists the resources to ask for, by name. When one is due, all go along that would be
// before long: requests then stay few, however many resources there are.
func (c *Client) due(now moment) []*Resource {
	var ripe, along []*Resource
	whole := false
	for _, name := range slices.Sorted(maps.Keys(c.open)) {
		r := c.open[name]
		switch a := r.account; {
		case c.flying[name] || c.releasing[name]:
		case !a.due.After(now.mono):
			ripe = append(ripe, r)
			whole = whole || a.room == 0
		case a.along(now):
			along = append(along, r)
		}
	}
	if !whole {
		return ripe
	}
	return append(ripe, along...)
}

// batches divides resources into requests: those with which nothing is wrong share one.
func batches(due []*Resource) [][]*Resource {
	var all [][]*Resource
	var whole, few []*Resource
	limit := largestRequest
	for _, r := range due {
		if r.account.room == 0 {
			whole = append(whole, r)
			continue
		}
		if len(few) >= min(limit, r.account.room) {
			all = append(all, few)
			few, limit = nil, largestRequest
		}
		few, limit = append(few, r), min(limit, r.account.room)
	}
	if len(few) > 0 {
		all = append(all, few)
	}
	return append(all, slices.Collect(slices.Chunk(whole, largestRequest))...)
}

// send begins a request. What it asks for is what is used at most from here on.
func (c *Client) send(now moment, batch []*Resource) {
	c.rounds++
	round, asks := c.rounds, make([]ask, 0, len(batch))
	for _, r := range batch {
		asks = append(asks, r.account.begin(now, round))
		c.flying[r.name] = true
		r.look()
	}
	c.work.Go(func() {
		ctx, cancel := context.WithTimeout(c.life, callTimeout)
		defer cancel()
		grants, err := c.wire.refresh(ctx, c.id, asks)
		if err == nil && len(grants) != len(asks) {
			err = fmt.Errorf("%d answers to %d resources", len(grants), len(asks))
		}
		c.settle(batch, round, grants, err)
	})
}

// settle books the answers to a request, or that there are none.
func (c *Client) settle(batch []*Resource, round uint64, grants []grant, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.poke()
	now, shake := c.now(), rand.Float64()
	for i, r := range batch {
		delete(c.flying, r.name)
		if r.over {
			continue
		}
		switch {
		case err != nil && len(batch) > 1 && refused(err):
			r.account.split(now, round, len(batch))
		case err != nil:
			r.account.fail(now, round, failure{err: err, size: len(batch), shake: shake})
		case grants[i].err != nil:
			r.account.fail(now, round, failure{err: grants[i].err, shake: shake})
		case !r.account.accept(now, round, grants[i], shake):
			r.account.fail(now, round, failure{err: errOld, shake: shake})
		}
		r.look()
		r.stir()
	}
}

// giveBack sends releases, of resources that are in no other request.
func (c *Client) giveBack() {
	var names []string
	for name := range c.releasing {
		if !c.flying[name] {
			names = append(names, name)
			c.flying[name] = true
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	c.rounds++
	back := surrender{names: names, serial: c.rounds}
	c.work.Go(func() {
		ctx, cancel := context.WithTimeout(c.life, callTimeout)
		defer cancel()
		// What could not be given back ends with its lease.
		_ = c.wire.release(ctx, c.id, back)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, name := range names {
			delete(c.flying, name)
			delete(c.releasing, name)
		}
		c.poke()
	})
}

// rest is the time until something is due, a lease ends, or the wall clock should be
// looked at again, which may be set at any time.
func (c *Client) rest(now moment) time.Duration {
	d := longestSilent
	for name, r := range c.open {
		a := r.account
		if !c.flying[name] && !c.releasing[name] {
			d = min(d, a.due.Sub(now.mono))
		}
		if a.leased(now) {
			d = min(d, clockWatch, a.held.ends.mono.Sub(now.mono), a.held.ends.wall.Sub(now.wall))
		}
	}
	return max(d, time.Millisecond)
}
