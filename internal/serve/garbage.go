package serve

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// liveMetric is what the last collection left.
const liveMetric = "/gc/heap/live:bytes"

// usualPercent is the runtime's own GC percentage.
const usualPercent = 100

// GarbageFloor is the size up to which a server's heap grows without being collected.
const GarbageFloor = 128 << 20

// collector keeps the heap's next collection from coming before it has reached a size.
type collector struct {
	floor uint64

	mu      sync.Mutex
	percent int  // guarded by mu: as set last
	stopped bool // guarded by mu
}

// DelayCollections lets the heap of this process grow to floor bytes before it is
// collected: a server with little to keep and many calls would else collect all the
// time. Above half the floor the runtime's own rule holds, and so does GOGC if it is set.
// The function returned ends it.
func DelayCollections(floor uint64) (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	c := &collector{floor: floor, percent: usualPercent}
	c.adjust()
	c.arm()
	return c.stop
}

// arm makes the next collection adjust what comes after it: it finds the garbage
// that this leaves.
func (c *collector) arm() {
	type mark struct{ c *collector }
	runtime.SetFinalizer(&mark{c}, func(m *mark) {
		if m.c.adjust() {
			m.c.arm()
		}
	})
}

// adjust sets the percentage that leads from what is alive to the floor; false once
// stopped. Setting it stops the world for a moment, so small differences are left alone.
func (c *collector) adjust() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	live := []metrics.Sample{{Name: liveMetric}}
	metrics.Read(live)
	want := percentTo(c.floor, live[0].Value.Uint64())
	if want < usualPercent+usualPercent/10 && c.percent == usualPercent || abs(want-c.percent) <= c.percent/10 {
		return true
	}
	c.percent = want
	debug.SetGCPercent(want)
	return true
}

// percentTo is how much a heap may grow to get from what is alive to the floor.
func percentTo(floor, live uint64) int {
	live = max(live, 4<<20) // what the runtime takes as the least, too
	if live >= floor {
		return usualPercent
	}
	return max(usualPercent, int((floor-live)*100/live))
}

func abs(n int) int { return max(n, -n) }

// stop goes back to the runtime's own rule.
func (c *collector) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.stopped = true
		debug.SetGCPercent(usualPercent)
	}
}
