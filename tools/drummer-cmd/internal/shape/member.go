package shape

import (
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	gossippb "github.com/drumline/drumline/drummerpb/gossip"
)

// Member is a host or a drummer as it is known by gossip.
type Member struct {
	Name      string `json:"name"`
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	State     string `json:"state"`
	SinceMS   int64  `json:"since_ms"`
	Region    string `json:"region"`
	Zone      string `json:"zone"`
	API       string `json:"api"`
	Raft      string `json:"raft"`
	HTTP      string `json:"http"`
	Gossip    string `json:"gossip"`
	Version   string `json:"version"`
	BootEpoch uint64 `json:"boot_epoch"`
}

// MemberHeader names the columns of Row.
func MemberHeader() []string {
	return []string{"NAME", "KIND", "STATE", "FOR", "REGION", "ZONE", "API", "GOSSIP", "VERSION", "ID"}
}

// Row is the member in a table.
func (m Member) Row() []string {
	since := (time.Duration(m.SinceMS) * time.Millisecond).Round(time.Second).String()
	return []string{m.Name, m.Kind, m.State, since, m.Region, m.Zone, m.API, m.Gossip, m.Version, m.ID}
}

// OfMembers translates the members of a list.
func OfMembers(r *drummerpb.ListHostsResponse) (all []Member) {
	for _, m := range r.GetMembers() {
		all = append(all, ofMember(m))
	}
	return all
}

// OfHosts translates the hosts of a list.
func OfHosts(r *drummerpb.ListHostsResponse) (all []Host) {
	for _, h := range r.GetHosts() {
		all = append(all, OfHost(h))
	}
	return all
}

func ofMember(m *gossippb.Member) Member {
	c := m.GetCard()
	kind := "host"
	if c.GetKind() == gossippb.Kind_KIND_DRUMMER {
		kind = "drummer"
	}
	return Member{
		Name: c.GetName(), ID: c.GetId(), Kind: kind, State: m.GetState(), SinceMS: m.GetSinceMs(), Region: c.GetRegion(), Zone: c.GetZone(),
		API: c.GetApi(), Raft: c.GetRaft(), HTTP: c.GetHttp(), Gossip: m.GetAddress(), Version: c.GetVersion(), BootEpoch: c.GetBootEpoch(),
	}
}
