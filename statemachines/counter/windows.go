package counter

import (
	"math"
	"math/bits"
	"slices"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// resolutions is how many there are. An index is a counterpb.Resolution less one.
const resolutions = 5

// maxWindows bounds what is kept of a resolution.
const maxWindows = 10_000

// bucket is what was counted in a window.
type bucket struct{ number, added, subtracted uint64 }

// Length is the length of windows of a resolution, in milliseconds.
func Length(r counterpb.Resolution) uint64 { return length(index(r)) }

func length(resolution int) uint64 {
	return [resolutions]uint64{1000, 10_000, 60_000, 3_600_000, 86_400_000}[resolution]
}

// index is a resolution as an index; it was checked.
func index(r counterpb.Resolution) int { return max(int(r), 1) - 1 }

// defaultKeep is how many windows are kept unless the settings say otherwise.
func defaultKeep() [resolutions]uint64 { return [resolutions]uint64{120, 90, 120, 72, 31} }

// count adds to the group's own windows of its time. Before any command has told the time
// there are none. When a window begins the old ones go, also those of regions that tell
// nothing any more.
func (c *counter) count(h *head, up, down uint64) {
	if h.wall == 0 {
		return
	}
	s := &c.mine
	for r := range s.windows {
		if h.keep[r] == 0 {
			s.windows[r] = nil
			continue
		}
		b := &s.windows[r]
		number := h.wall / length(r)
		if n := len(*b); n > 0 && (*b)[n-1].number == number {
			(*b)[n-1].added += up
			(*b)[n-1].subtracted += down
			continue
		}
		*b = append(h.kept(r, *b), bucket{number, up, down})
		for i := range c.others {
			c.others[i].windows[r] = h.kept(r, c.others[i].windows[r])
		}
	}
}

// oldest is the number of the oldest window that is kept.
func (h *head) oldest(r int) uint64 {
	newest := h.wall / length(r)
	return newest - min(newest, h.keep[r]-min(h.keep[r], 1))
}

// kept leaves out what is too old: as seen from the group's time, or from the newest
// window, whichever is later. So a row is never longer than what is kept.
func (h *head) kept(r int, b []bucket) []bucket {
	if len(b) == 0 || h.keep[r] == 0 {
		return nil
	}
	oldest, n := h.oldest(r), 0
	if newest := b[len(b)-1].number; newest >= h.keep[r] {
		oldest = max(oldest, newest-h.keep[r]+1)
	}
	for n < len(b) && b[n].number < oldest {
		n++
	}
	if n == 0 {
		return b
	}
	return slices.Clone(b[n:]) // the old ones would stay in memory
}

// told are the windows that end after a time. If there are more than so many the finest and
// oldest are left out.
func (s *slot) told(after uint64, most int) []*counterpb.Bucket {
	var out []*counterpb.Bucket
	for r := range s.windows {
		for _, b := range s.windows[r] {
			if (b.number+1)*length(r) > after {
				out = append(out, &counterpb.Bucket{Resolution: counterpb.Resolution(r + 1), Number: b.number, Added: b.added, Subtracted: b.subtracted})
			}
		}
	}
	return out[max(len(out)-most, 0):]
}

// take merges windows and tells whether something was new.
func (s *slot) take(h *head, windows []*counterpb.Bucket) bool {
	changed := false
	for _, w := range windows {
		r := index(w.GetResolution())
		if h.keep[r] == 0 || w.GetNumber() < h.oldest(r) {
			continue
		}
		b := &s.windows[r]
		at, there := slices.BinarySearchFunc(*b, w.GetNumber(), func(b bucket, n uint64) int {
			switch {
			case b.number < n:
				return -1
			case b.number > n:
				return 1
			}
			return 0
		})
		if !there {
			*b = slices.Insert(*b, at, bucket{number: w.GetNumber()})
		}
		x := &(*b)[at]
		changed = changed || !there || w.GetAdded() > x.added || w.GetSubtracted() > x.subtracted
		x.added, x.subtracted = max(x.added, w.GetAdded()), max(x.subtracted, w.GetSubtracted())
	}
	for r := range s.windows {
		s.windows[r] = h.kept(r, s.windows[r])
	}
	return changed
}

// sealed is the time up to which every region has told what it counted.
func (h *head) sealed() uint64 {
	t := h.wall
	for _, p := range h.peers {
		if !p.retired && !p.past {
			t = min(t, p.wall)
		}
	}
	return t
}

// unsealed tells whether the newest window has something in it and has not ended.
func (h *head) unsealed() bool { return h.busy > 0 && h.busy/length(0) == h.wall/length(0) }

// complete is the oldest window of which all that was counted is kept: each origin's row is
// cut by its own newest window, too, and a region may be ahead.
func (m *Machine) complete(c *counter, r int) uint64 {
	oldest := m.oldest(r)
	c.all(func(s *slot) {
		if n := len(s.windows[r]); n > 0 && s.windows[r][n-1].number >= m.keep[r] {
			oldest = max(oldest, s.windows[r][n-1].number-m.keep[r]+1)
		}
	})
	return oldest
}

// Plus is the sum of two numbers, or the greatest number if the sum is greater.
func Plus(a, b uint64) uint64 {
	if sum, carry := bits.Add64(a, b, 0); carry == 0 {
		return sum
	}
	return math.MaxUint64
}

// windows adds up what all origins counted.
func (m *Machine) windows(c *counter, q *counterpb.Windows) []*counterpb.Window {
	r := index(q.GetResolution())
	sums := map[uint64]bucket{}
	var numbers []uint64
	first := max(q.GetFirst(), m.complete(c, r))
	c.all(func(s *slot) {
		for _, b := range s.windows[r] {
			if b.number < first {
				continue
			}
			sum, there := sums[b.number]
			if !there {
				numbers = append(numbers, b.number)
			}
			sums[b.number] = bucket{b.number, Plus(sum.added, b.added), Plus(sum.subtracted, b.subtracted)}
		}
	})
	slices.Sort(numbers)
	if n := int(q.GetLimit()); n > 0 && len(numbers) > n {
		numbers = numbers[len(numbers)-n:]
	}
	var out []*counterpb.Window
	sealed := m.sealed()
	for _, n := range numbers {
		out = append(out, &counterpb.Window{
			StartMs: n * length(r), LengthMs: length(r), Added: sums[n].added, Subtracted: sums[n].subtracted, Sealed: (n+1)*length(r) <= sealed,
		})
	}
	return out
}
