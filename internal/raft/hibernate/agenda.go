package hibernate

import (
	"slices"
	"time"

	"github.com/drumline/drumline/internal/ids"
)

// task is an act that is due at a time.
type task struct {
	at    time.Time
	act   Act
	group ids.Group
}

// agenda is what will be done, earliest first.
type agenda []task

// add puts tasks on it.
func (a *agenda) add(tasks ...task) {
	*a = append(*a, tasks...)
	slices.SortStableFunc(*a, func(x, y task) int { return x.at.Compare(y.at) })
}

// due takes what is due from the agenda, by act.
func (a *agenda) due(now time.Time) map[Act][]ids.Group {
	n := 0
	for n < len(*a) && !(*a)[n].at.After(now) {
		n++
	}
	if n == 0 {
		return nil
	}
	out := make(map[Act][]ids.Group)
	for _, t := range (*a)[:n] {
		out[t.act] = append(out[t.act], t.group)
	}
	*a = slices.Delete(*a, 0, n)
	return out
}

// next is when something is due, no later than the given time.
func (a *agenda) next(latest time.Time) time.Time {
	if len(*a) > 0 && (*a)[0].at.Before(latest) {
		return (*a)[0].at
	}
	return latest
}
