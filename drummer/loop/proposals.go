package loop

import (
	"maps"
	"slices"
	"strconv"

	"github.com/drumline/drumline/drummer/planner"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Bounds of proposals.
const (
	holdAfter    = PassPeriod // a proposal that failed is not repeated before
	maxProposals = 2048       // on their way; the plan is made again anyway
)

// proposal is a command on its way into the record.
type proposal struct {
	key     string
	command *fleetpb.Command
}

func groupKey(id ids.Group) string { return "group " + strconv.FormatUint(uint64(id), 10) }

// keyOf tells commands apart of which one at a time is proposed.
func keyOf(a *planner.Action) string {
	switch op := a.Command.GetOp().(type) {
	case *fleetpb.Command_HostEmptied:
		return "wanted " + op.HostEmptied.GetHostId()
	case *fleetpb.Command_RemoveHost:
		return "wanted " + op.RemoveHost.GetHostId()
	case *fleetpb.Command_SetBrake:
		return "brake"
	}
	return groupKey(a.Group)
}

// propose proposes a command unless one of the same key is on its way or failed a
// moment ago.
func (c *Core) propose(key string, command *fleetpb.Command) {
	if c.proposing[key] || c.now < c.holds[key] || len(c.proposals) >= maxProposals {
		return
	}
	delete(c.holds, key)
	c.nextToken++
	c.proposals[c.nextToken] = &proposal{key, command}
	c.proposing[key] = true
	c.emit(Propose{c.nextToken, command})
}

// proposed takes the fate of a proposal. The next pass sees in the record what came
// of it, whatever the fate.
func (c *Core) proposed(e Proposed) {
	p := c.proposals[e.Token]
	if p == nil {
		return
	}
	delete(c.proposals, e.Token)
	delete(c.proposing, p.key)
	if e.Err == "" && e.Result.GetCode() == fleetpb.Code_CODE_OK {
		return
	}
	c.holds[p.key] = c.now + holdAfter
	register := p.command.GetRegisterHost()
	h := c.hosts[ids.Host(register.GetId())]
	if register != nil && e.Err == "" && h != nil && h.live {
		c.drop(h.session, "the record refuses the host: "+e.Result.GetDetail(), NotNow)
	}
}

// pending lists the commands on their way, oldest first.
func (c *Core) pending() []*fleetpb.Command {
	list := make([]*fleetpb.Command, 0, len(c.proposals))
	for _, token := range slices.Sorted(maps.Keys(c.proposals)) {
		list = append(list, c.proposals[token].command)
	}
	return list
}

// forgetHolds drops the holds that have run out.
func (c *Core) forgetHolds() {
	for key, until := range c.holds {
		if c.now >= until {
			delete(c.holds, key)
		}
	}
}

// expireRefusers lets hosts that refused long ago be chosen again.
func (c *Core) expireRefusers() map[string]map[ids.Host]bool {
	current := map[string]map[ids.Host]bool{}
	for name, hosts := range c.refusers {
		for h, until := range hosts {
			if c.now >= until {
				delete(hosts, h)
				continue
			}
			if current[name] == nil {
				current[name] = map[ids.Host]bool{}
			}
			current[name][h] = true
		}
		if len(hosts) == 0 {
			delete(c.refusers, name)
		}
	}
	return current
}
