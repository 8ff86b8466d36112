package drummer

import (
	"fmt"

	"github.com/drumline/drumline/drummer/api"
	"github.com/drumline/drumline/drummer/formation"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// peers knows the drummers: addresses by configuration, identities by formation,
// the leader by Raft.
type peers struct {
	addresses []string
	formation *formation.Formation
	host      *raft.Host
}

var _ api.Peers = (*peers)(nil)

// leader returns the leading drummer's index, 0 when unknown.
func (p *peers) leader() int {
	st, _ := p.host.Status(ids.DrummerGroup)
	if st.Leader == 0 || int(st.Leader) > len(p.addresses) {
		return 0
	}
	return int(st.Leader) // the founders' replica ids are their indexes
}

// Leader returns the gRPC address of the drummer that leads, empty when unknown.
func (p *peers) Leader() string {
	if i := p.leader(); i != 0 {
		return p.addresses[i-1]
	}
	return ""
}

// Servers are all drummers.
func (p *peers) Servers() []*hostpb.Server {
	leader := p.leader()
	servers := make([]*hostpb.Server, 0, len(p.addresses))
	for i, addr := range p.addresses {
		peer := p.formation.Peer(i + 1)
		if peer.Name == "" {
			peer.Name = fmt.Sprintf("drummer-%d", peer.Index)
		}
		servers = append(servers, &hostpb.Server{
			Kind: "drummer", Id: string(peer.Host), Name: peer.Name, Api: addr, Leader: peer.Index == leader, Region: peer.Region,
		})
	}
	return servers
}
