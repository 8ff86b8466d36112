package replicas

import (
	"fmt"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// orderTune writes other settings down, and has a replica that runs stopped and started with
// them. The drummers see to it that it is the only one of its group that is away.
func (c *Core) orderTune(token uint64, o *drummerpb.Order, want raft.Settings) {
	k := keyOf(o)
	r := c.replicas[k]
	if r == nil {
		c.notYet(token, o, fmt.Sprintf("replica %s is not here", k))
		return
	}
	why := checkSettings(want)
	if r.Life != life.Running && r.Life != life.Starting {
		why = fmt.Sprintf("replica %s is being destroyed, or retired", k)
	}
	if why != "" {
		c.refuse(token, o, why)
		return
	}
	if r.Raft != want {
		r.Raft, r.Generation = want, max(r.Generation, o.GetGeneration())
		c.save(r)
	}
	c.raiseGeneration(r, o.GetGeneration())
	switch {
	case r.up && r.running == want:
		c.obeyed(token, o)
	case !r.up || r.busy:
		c.notYet(token, o, "the replica is starting")
	case c.executing[k.Group] != nil:
		c.notYet(token, o, fmt.Sprintf("order %d of this group is being obeyed", c.executing[k.Group].GetId()))
	case c.stale():
		c.notYet(token, o, stoodStill)
	default:
		if !r.Unloaded {
			c.suspect(r) // should the process die of it, the next one starts it alone
		}
		r.starters = append(r.starters, waiter{token, o.GetId()})
		r.up, r.started, r.tuning = false, false, true
		c.begin(r)
	}
}

// checkSettings says what is wrong with a group's own settings, or nothing: raft refuses
// what is, and a replica would stay down.
func checkSettings(s raft.Settings) string {
	switch e, h := s.ElectionTicks, s.HeartbeatTicks; {
	case (e == 0) != (h == 0):
		return "ticks of elections and of heartbeats are set together"
	case e > 0 && uint64(e) < 3*uint64(h):
		return fmt.Sprintf("an election of %d ticks is less than three times the heartbeat of %d", e, h)
	}
	return ""
}

func settingsOf(o *fleetpb.RaftOptions) raft.Settings {
	return raft.Settings{SnapshotEntries: o.GetSnapshotEntries(), ElectionTicks: o.GetElectionTicks(), HeartbeatTicks: o.GetHeartbeatTicks()}
}

// settingsToWire makes the message of a group's own settings; nil for none.
func settingsToWire(s raft.Settings) *fleetpb.RaftOptions {
	if s == (raft.Settings{}) {
		return nil
	}
	return &fleetpb.RaftOptions{SnapshotEntries: s.SnapshotEntries, ElectionTicks: s.ElectionTicks, HeartbeatTicks: s.HeartbeatTicks}
}
