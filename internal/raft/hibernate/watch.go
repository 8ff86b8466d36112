package hibernate

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport"
)

// change is that a host went down or came up.
type change struct {
	host ids.Host
	up   bool
	// fresh: it came up as another process than it went down.
	fresh bool
}

// life is what the watch last said of a host.
type life struct {
	up      bool
	process uint64
}

// watch tells from the signs of hosts which of them are up. A host that was never
// heard is not up, and nobody is told so.
type watch struct {
	silence time.Duration

	mu    sync.Mutex
	hosts map[ids.Host]life
	// last is when look was called last, resumed when it was called late: then this
	// host stood still, and what the others said meanwhile waits to be heard.
	last, resumed time.Time
}

func newWatch(silence time.Duration) *watch {
	return &watch{silence: silence, hosts: make(map[ids.Host]life)}
}

// follow watches these hosts and no others.
func (w *watch) follow(hosts []ids.Host) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range hosts {
		if _, known := w.hosts[h]; !known {
			w.hosts[h] = life{}
		}
	}
	maps.DeleteFunc(w.hosts, func(h ids.Host, _ life) bool { return !slices.Contains(hosts, h) })
}

func (w *watch) up(h ids.Host) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[h].up
}

// look takes the signs of all hosts and returns what changed since the look before;
// hosts in order of their ids.
func (w *watch) look(now time.Time, signs func(ids.Host) transport.Signs) []change {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.last.IsZero() && now.Sub(w.last) > w.silence/2 {
		w.resumed = now
	}
	w.last = now
	var changes []change
	for _, h := range slices.Sorted(maps.Keys(w.hosts)) {
		was, s := w.hosts[h], signs(h)
		is := life{up: w.lives(was, s, now), process: s.Process}
		w.hosts[h] = is
		fresh := was.process != 0 && is.process != was.process
		again := was.up && is.up && fresh
		if was.up && !is.up || again {
			changes = append(changes, change{host: h})
		}
		if is.up && !was.up || again {
			changes = append(changes, change{host: h, up: true, fresh: fresh})
		}
	}
	return changes
}

// lives judges a host; mu is held.
func (w *watch) lives(was life, s transport.Signs, now time.Time) bool {
	heard := s.Heard
	if was.up && w.resumed.After(heard) {
		heard = w.resumed
	}
	closed := s.Refused && s.Connections == 0
	return s.Process != 0 && !closed && now.Sub(heard) <= w.silence
}
