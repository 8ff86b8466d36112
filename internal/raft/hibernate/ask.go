package hibernate

import (
	"github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
)

// ask asks the voters of groups which of them leads: that one wakes.
func (w *Waker) ask(groups []Group) {
	to := make(map[ids.Host][]raftpb.Message)
	for _, g := range groups {
		for id, host := range g.Voters {
			if id != g.Self {
				to[host] = append(to[host], noop(g, id, askLeader))
			}
		}
	}
	for host, messages := range to {
		w.o.Transport.Tell(host, messages)
	}
}

// Desert is to be called when the group's replica here has been stopped: if it led, the
// voter that shall lead now stands for election. Its host goes on, so nobody else would
// notice; and it does so at once, because the others may be about to fall asleep and
// would take it along. A nil Waker does nothing.
func (w *Waker) Desert(g Group) {
	if w == nil || g.Leader != g.Self {
		return
	}
	if first := First(g, w.Up); first != 0 {
		m := noop(g, first, 0)
		m.Type = raftpb.TimeoutNow
		w.o.Transport.Tell(g.Voters[first], []raftpb.Message{m})
	}
}
