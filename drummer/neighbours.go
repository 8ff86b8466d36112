package drummer

import (
	"fmt"

	"github.com/drumline/drumline/config"
	gossippb "github.com/drumline/drumline/drummerpb/gossip"
	"github.com/drumline/drumline/internal/gossip"
	kept "github.com/drumline/drumline/internal/gossip/peers"
	"github.com/drumline/drumline/internal/ids"
)

// openGossip begins to listen to hosts and drummers, if the configuration has a key.
// Nothing is decided by what a drummer hears this way: it shows people who is there, and
// lets hosts know of drummers.
func (d *drummer) openGossip() error {
	if d.cfg.Gossip.Enabled() {
		book, err := kept.Open(d.dir.DB())
		if err != nil {
			return err
		}
		d.gossip, err = gossip.Open(gossip.Options{
			Self: &gossippb.Card{
				Id: string(d.dir.Host()), Name: d.cfg.Name, Kind: gossippb.Kind_KIND_DRUMMER, Region: d.cfg.Region,
				Api: d.ownAddress(), Raft: d.transport.Addr(), Http: d.server.HTTPAddr(), Version: config.Version(), BootEpoch: d.dir.BootEpoch(),
			},
			Deployment: d.cfg.Deployment, Keys: d.cfg.Gossip.Keys, Listen: d.cfg.Gossip.Listen, Advertise: d.cfg.Gossip.Advertise,
			Seeds: d.gossipers, Book: book, Log: d.log,
		})
		if err != nil {
			return fmt.Errorf("open gossip: %w", err)
		}
		d.stop.Push("gossip", d.gossip.Close)
	}
	if err := d.registry.Register(gossip.NewCollector(d.gossip, "drummer")); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// gossipers are the addresses that the record's hosts gossip on, as this replica has it.
func (d *drummer) gossipers() []string {
	h, _ := d.parts()
	if h == nil {
		return nil
	}
	v, err := viewOf(h.LocalView(ids.DrummerGroup))
	if err != nil {
		return nil // its replica is starting; it is asked again in a moment
	}
	var addrs []string
	for rec := range v.Hosts() {
		if !rec.GetLost() {
			addrs = append(addrs, rec.GetGossip())
		}
	}
	return addrs
}

// heard are those known by gossip.
func (d *drummer) heard() []*gossippb.Member {
	var all []*gossippb.Member
	for _, m := range d.gossip.Members() {
		all = append(all, m.Proto())
	}
	return all
}
