package nodehost

import (
	"fmt"

	"github.com/drumline/drumline/config"
	gossippb "github.com/drumline/drumline/drummerpb/gossip"
	"github.com/drumline/drumline/internal/gossip"
	"github.com/drumline/drumline/internal/gossip/peers"
	"github.com/drumline/drumline/nodehost/counters"
)

// mostUnheard bounds what a drummer is told: one that hears so few is cut off itself.
const mostUnheard = 5000

// openGossip begins to listen to the neighbours, if the configuration has a key.
func (h *host) openGossip() error {
	if !h.cfg.Gossip.Enabled() {
		return nil
	}
	book, err := peers.Open(h.dir.DB())
	if err != nil {
		return err
	}
	h.gossip, err = gossip.Open(gossip.Options{
		Self: &gossippb.Card{
			Id: string(h.dir.Host()), Name: h.cfg.Name, Kind: gossippb.Kind_KIND_HOST, Region: h.cfg.Region, Zone: h.cfg.Zone,
			Api: h.server.APIAddr(), Raft: h.transport.Addr(), Http: h.server.HTTPAddr(), Version: config.Version(), BootEpoch: h.dir.BootEpoch(),
		},
		Deployment: h.cfg.Deployment, Keys: h.cfg.Gossip.Keys, Listen: h.cfg.Gossip.Listen, Advertise: h.cfg.Gossip.Advertise,
		Seeds: h.gossipers, Book: book, Log: h.log,
	})
	if err != nil {
		return fmt.Errorf("open gossip: %w", err)
	}
	h.stop.Push("gossip", h.gossip.Close)
	return nil
}

// gossipers are the addresses that hosts gossip on, as far as Drummer has told of them.
func (h *host) gossipers() []string {
	var addrs []string
	for _, e := range h.agent.Hosts() {
		addrs = append(addrs, e.Gossip)
	}
	return addrs
}

// unheard are the hosts that Drummer told of and that are not heard by gossip.
func (h *host) unheard() []string {
	var ids []string
	for _, e := range h.agent.Hosts() {
		if e.ID != h.dir.Host() && !h.gossip.Hears(string(e.ID)) {
			ids = append(ids, string(e.ID))
		}
	}
	return ids[:min(len(ids), mostUnheard)]
}

// members are the processes of the cluster, this one first: the hosts that Drummer told of,
// and all that are known by gossip.
func (h *host) members() []counters.Member {
	self := counters.Member{Name: h.cfg.Name, ID: string(h.dir.Host()), Kind: "host", Region: h.cfg.Region, Zone: h.cfg.Zone, API: h.server.APIAddr(), HTTP: h.server.HTTPAddr(), Self: true}
	known := map[string]bool{self.ID: true}
	all := []counters.Member{self}
	for _, m := range h.gossip.Members() {
		c := m.Card
		if known[c.GetId()] {
			all[0].Version, all[0].Gossip, all[0].State = c.GetVersion(), m.Address, m.State
			continue
		}
		known[c.GetId()] = true
		all = append(all, counters.Member{
			Name: c.GetName(), ID: c.GetId(), Kind: gossip.KindWord(c.GetKind()), Region: c.GetRegion(), Zone: c.GetZone(),
			API: c.GetApi(), HTTP: c.GetHttp(), Version: c.GetVersion(), Gossip: m.Address, State: m.State,
		})
	}
	for _, e := range h.agent.Hosts() {
		if known[string(e.ID)] {
			continue
		}
		m := counters.Member{Name: e.Name, ID: string(e.ID), Kind: "host", Region: e.Region, API: e.API}
		if h.gossip != nil {
			m.State = gossip.Unheard
		}
		all = append(all, m)
	}
	return all
}
