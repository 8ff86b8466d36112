package nodehost

import (
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/nodehost/replicas"
)

// inventory is all that this host knows, so that a fleet record can be made of it when
// the drummers have lost theirs.
func (h *host) inventory() *statepb.Inventory {
	all := &statepb.Inventory{
		Host: h.agent.Self(), Deployment: h.cfg.Deployment, Fleet: h.agent.Fleet(), Incarnation: h.agent.Incarnation(),
		Configurations: h.book.Configurations(),
	}
	for _, l := range h.keeper.Locals() {
		if r := h.inventoryReplica(l); r != nil {
			all.Replicas = append(all.Replicas, r)
		}
	}
	for _, e := range h.agent.Hosts() {
		raft, _, _ := h.dir.Book().Lookup(e.ID)
		all.Others = append(all.Others, &drummerpb.HostAddress{
			Id: string(e.ID), Name: e.Name, Region: e.Region, Api: e.API, BootEpoch: e.BootEpoch, Raft: raft,
		})
	}
	return all
}

// inventoryReplica fills in the membership that the replica itself knows.
func (h *host) inventoryReplica(l replicas.Local) *statepb.InventoryReplica {
	report, ok := h.keeper.Report(l.Record.Key())
	if !ok {
		return nil // it went meanwhile
	}
	if voters := h.raft.Voters(l.Record.Group); report.GetMembership() == nil && len(voters) > 0 {
		report.Membership = &drummerpb.Membership{ConfigChange: report.GetConfigChange(), Voters: map[uint64]string{}}
		for id, host := range voters {
			report.Membership.Voters[uint64(id)] = string(host)
		}
	}
	return &statepb.InventoryReplica{Report: report, Joined: l.Record.Join, Generation: l.Record.Generation}
}
