// Package openings lets those who wait for a group to be open sleep until it is: the record
// of this drummer tells of each group that it opened, and wakes who waits for that one.
//
//	var o openings.Openings
//	opened, leave := o.Await(group)
//	defer leave()
//	// look whether it is open already; if not, wait for opened
package openings

import (
	"slices"
	"sync"

	"github.com/drumline/drumline/internal/ids"
)

// Openings are those that somebody waits for. The zero value is ready; its methods may be
// called from any goroutine.
type Openings struct {
	mu      sync.Mutex
	waiting map[ids.Group][]chan struct{} // guarded by mu: of nobody who left
}

// Await returns a channel that is closed when the group is told to be open. Whoever waits
// calls leave when it waits no more, once.
func (o *Openings) Await(g ids.Group) (opened <-chan struct{}, leave func()) {
	c := make(chan struct{})
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == nil {
		o.waiting = map[ids.Group][]chan struct{}{}
	}
	o.waiting[g] = append(o.waiting[g], c)
	return c, func() { o.leave(g, c) }
}

// leave forgets one who waits.
func (o *Openings) leave(g ids.Group, c chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := slices.Index(o.waiting[g], c)
	if at < 0 { // told
		return
	}
	if o.waiting[g] = slices.Delete(o.waiting[g], at, at+1); len(o.waiting[g]) == 0 {
		delete(o.waiting, g)
	}
}

// Tell wakes those who wait for the group: it is open in the record.
func (o *Openings) Tell(g ids.Group) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.waiting[g] {
		close(c)
	}
	delete(o.waiting, g)
}
