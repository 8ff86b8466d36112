package drummer

import (
	"fmt"

	"github.com/drumline/drumline/drummer/api"
	"github.com/drumline/drumline/drummer/members"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// peers knows the drummers: who they are by the record's list, and until that is written
// by the group's formation; the leader by Raft.
type peers struct {
	members  *members.Members
	founders []*fleetpb.Drummer
	host     *raft.Host
}

var _ api.Peers = (*peers)(nil)

func (p *peers) list() []*fleetpb.Drummer {
	if list := p.members.List().All; len(list) > 0 {
		return list
	}
	return p.founders
}

// leader returns the leading drummer's number, 0 when unknown.
func (p *peers) leader() uint64 {
	st, _ := p.host.Status(ids.DrummerGroup)
	return uint64(st.Leader)
}

// Leader returns the gRPC address of the drummer that leads, empty when unknown.
func (p *peers) Leader() string {
	leader := p.leader()
	for _, d := range p.list() {
		if leader != 0 && d.GetNumber() == leader {
			return d.GetApi()
		}
	}
	return ""
}

// Servers are all drummers.
func (p *peers) Servers() []*hostpb.Server {
	leader := p.leader()
	var servers []*hostpb.Server
	for _, d := range p.list() {
		name := d.GetName()
		if name == "" {
			name = fmt.Sprintf("drummer-%d", d.GetNumber())
		}
		servers = append(servers, &hostpb.Server{
			Kind: "drummer", Id: d.GetHostId(), Name: name, Api: d.GetApi(), Leader: d.GetNumber() == leader, Region: d.GetRegion(), Number: d.GetNumber(),
		})
	}
	return servers
}
