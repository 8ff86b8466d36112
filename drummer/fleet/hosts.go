package fleet

import (
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/rules"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// registerHost stores what a host said of itself. The host that had the same name
// under another id is lost: a name means one data directory, and a new id means
// that the directory is new.
func (t *turn) registerHost(h *fleetpb.Host) *fleetpb.Result {
	if err := rules.CheckHost(h); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "host %s: %v", rules.Quote(h.GetName()), err)
	}
	old := t.host(h.GetId())
	if old.GetWanted() != nil { // it is the record's to say
		h = clone(h)
		h.Wanted = old.GetWanted()
	}
	switch {
	case old.GetLost():
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q: its id %s was declared lost and never comes back; give it an empty data directory", h.GetName(), h.GetId())
	case old.GetAge() > h.GetAge():
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q: its data directory was at age %d, and this one is at %d: an old copy of it", h.GetName(), old.GetAge(), h.GetAge())
	case old.GetBootEpoch() > h.GetBootEpoch():
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q: start %d was seen, and this is start %d: an old copy of its data directory", h.GetName(), old.GetBootEpoch(), h.GetBootEpoch())
	case old != nil && proto.Equal(old, h):
		return done("known already")
	case old == nil && (t.hosts.Len() >= maxIdentities || t.hosts.Len() >= rules.MaxHosts && t.present() >= rules.MaxHosts):
		return refuse(fleetpb.Code_CODE_INVALID, "the record holds %d hosts already", rules.MaxHosts)
	}
	previous := t.holder(h)
	t.hosts.ReplaceOrInsert(clone(h))
	t.revision++
	switch {
	case old == nil:
		t.event("host-registered", "", h.GetName(), "id %s, region %q, raft at %s", h.GetId(), h.GetRegion(), h.GetRaft())
	case old.GetBootEpoch() != h.GetBootEpoch():
		t.event("host-started", "", h.GetName(), "start %d, raft at %s", h.GetBootEpoch(), h.GetRaft())
	case onlyOlder(old, h): // nothing that a person would want to know
	default:
		t.event("host-changed", "", h.GetName(), "region %q, raft at %s", h.GetRegion(), h.GetRaft())
	}
	if previous != nil {
		t.lose(previous, "a host of the same name came with a new data directory")
	}
	return done("")
}

// onlyOlder tells whether a host's data directory has aged and nothing else changed.
func onlyOlder(old, h *fleetpb.Host) bool {
	same := clone(old)
	same.Age = h.GetAge()
	return proto.Equal(same, h)
}

// holder is the other host that has the name and is not lost, if any.
func (t *turn) holder(h *fleetpb.Host) *fleetpb.Host {
	var found *fleetpb.Host
	t.hosts.Ascend(func(o *fleetpb.Host) bool {
		if o.GetName() == h.GetName() && o.GetId() != h.GetId() && !o.GetLost() {
			found = o
		}
		return found == nil
	})
	return found
}

func (t *turn) hostLost(c *fleetpb.HostLost) *fleetpb.Result {
	if len(c.GetReason()) > rules.MaxReason {
		return refuse(fleetpb.Code_CODE_INVALID, "the reason has %d bytes, at most %d are kept", len(c.GetReason()), rules.MaxReason)
	}
	h := t.host(c.GetHostId())
	switch {
	case h == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no host has the id %s", rules.Quote(c.GetHostId()))
	case h.GetLost():
		return done("host %q is lost already", h.GetName())
	}
	t.lose(h, c.GetReason())
	return done("")
}

// lose marks a host, drops those of its replicas whose data was to go, and ends what was
// under way to empty it: nothing does that for a host that is gone.
func (t *turn) lose(h *fleetpb.Host, reason string) {
	h = clone(h)
	h.Lost = true
	if id := h.GetWanted().GetOperation(); id != 0 {
		t.finish(id, "superseded: the host is lost")
		h.Wanted.Operation = 0
	}
	t.hosts.ReplaceOrInsert(h)
	t.revision++
	t.event("host-lost", "", h.GetName(), "id %s: %s", h.GetId(), reason)
	var touched []*fleetpb.Group
	t.groups.Ascend(func(g *fleetpb.Group) bool {
		for _, r := range g.GetReplicas() {
			if r.GetHostId() == h.GetId() && r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
				touched = append(touched, g)
				break
			}
		}
		return true
	})
	for _, g := range touched {
		t.put(clone(g))
	}
}
