package loop

import (
	"maps"
	"slices"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// tellConfigurations sends the hosts that attend the configurations that have changed;
// those that come later are told when they are admitted.
func (c *Core) tellConfigurations() {
	for conf := range c.view.Configurations() {
		if c.configured[conf.GetApp()] == conf.GetRevision() {
			continue
		}
		c.configured[conf.GetApp()] = conf.GetRevision()
		for _, id := range slices.Sorted(maps.Keys(c.sessions)) {
			if c.sessions[id].admitted {
				c.sendConfiguration(id, conf)
			}
		}
	}
}

// sendConfiguration sends one, without the source, which is for people. Each goes
// alone: one may be as large as a message should be.
func (c *Core) sendConfiguration(session uint64, conf *fleetpb.Configuration) {
	told := &fleetpb.Configuration{
		App: conf.GetApp(), Revision: conf.GetRevision(), AtUnixMs: conf.GetAtUnixMs(), Author: conf.GetAuthor(),
		Templates: conf.GetTemplates(), MaxGroups: conf.GetMaxGroups(), Restores: conf.GetRestores(),
	}
	c.emit(Send{session, &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Configurations{
		Configurations: &drummerpb.Configurations{Configurations: []*fleetpb.Configuration{told}},
	}}})
}
