package lane

import (
	"math/bits"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// MaxItem is the size from which an item had better travel as a call of its own.
const MaxItem = 256 << 10

// Sizes of what travels; a call that is larger travels alone.
const (
	frameBytes = 512 << 10
	lotItems   = 1024
)

// lot is calls for one group that travel together. The Lane's mutex guards it.
type lot struct {
	talk  *talk
	id    uint64
	calls []*call // by item; nil once answered
	open  int
	wire  *hostpb.Lot
	least time.Duration // of what its calls have left
}

// key says which calls may share a lot: those of one group and kind with about the
// same time left, because the host gives a lot one deadline.
type key struct {
	name   string
	region string
	id     uint64
	hops   uint32
	bucket uint8
	read   bool
	locate bool
	again  bool
}

// noDeadline is the time of a call that has no deadline.
const noDeadline = 10 * time.Second

// bucketOf puts times that differ by less than an eighth in one class.
func bucketOf(left time.Duration) uint8 {
	us := uint64(left.Microseconds())
	n := bits.Len64(us)
	if n < 4 {
		return uint8(us)
	}
	return uint8(n<<3) | uint8(us>>(n-4)&7)
}

// sort puts calls into lots; the Lane's mutex is held.
func (t *talk) sort(calls []*call, now time.Time) []*lot {
	clear(t.open)
	var lots []*lot
	for _, c := range calls {
		if c.left {
			continue
		}
		left := noDeadline
		if !c.deadline.IsZero() {
			left = max(c.deadline.Sub(now), time.Microsecond)
		}
		k := key{
			name: c.head.Group.GetName(), region: c.head.Group.GetRegion(), id: c.head.Group.GetId(),
			hops: c.head.Hops, bucket: bucketOf(left), read: c.head.Read, locate: c.head.Locate, again: c.head.Repeatable,
		}
		x := t.open[k]
		if x == nil || c.head.Room != 0 || len(x.calls)+len(c.items) > lotItems {
			x = t.newLot(c.head, left)
			lots = append(lots, x)
			if c.head.Room == 0 {
				t.open[k] = x
			}
		}
		x.add(c, left)
	}
	for _, x := range lots {
		x.wire.TimeoutUs = uint64(x.least.Microseconds())
	}
	return lots
}

// newLot begins a lot.
func (t *talk) newLot(h Head, left time.Duration) *lot {
	t.last++
	x := &lot{talk: t, id: t.last, least: left}
	x.wire = &hostpb.Lot{Id: x.id, Group: h.Group, Hops: h.Hops, Locate: h.Locate, Room: h.Room, Repeatable: h.Repeatable}
	t.lots[x.id] = x
	return x
}

// add puts a call into the lot.
func (x *lot) add(c *call, left time.Duration) {
	c.lot, c.first = x, len(x.calls)
	for range c.items {
		x.calls = append(x.calls, c)
	}
	x.open += len(c.items)
	x.least = min(x.least, left)
	if c.head.Read {
		x.wire.Queries = append(x.wire.Queries, c.items...)
	} else {
		x.wire.Commands = append(x.wire.Commands, c.items...)
	}
}
