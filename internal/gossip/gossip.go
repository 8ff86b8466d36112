// Package gossip is how hosts and drummers know of each other without being told: every
// process says who and where it is, and hears that of all others, through memberlist.
//
// It decides nothing. Which replicas live where is the record's, where Raft's messages go
// is the address book's; what is heard here is for people (/cluster, drummer-cmd hosts
// list --gossip) and a second opinion for the supervisor, which may hear nothing of a host
// whose neighbours hear it well.
//
// All of it is sealed with a key that the members share (AES-GCM; the deployment's name is
// part of the seal), so nobody without the key joins, listens or forges. There is no way
// to gossip without a key. Whoever has the key is believed in what it says of itself, but
// not that it is another process that is heard, nor with what no process of ours would
// say. What is refused is counted by its reason, and changes nothing.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	gossippb "github.com/drumline/drumline/drummerpb/gossip"
	"github.com/drumline/drumline/internal/gossip/guard"
)

// Times and numbers of the search for others.
const (
	seekAlone  = time.Second      // while nobody else is heard
	seekOthers = 10 * time.Second // for those that are known and not heard
	seekAtOnce = 3                // that are tried in a row
	leaveGrace = time.Second      // for the word that this process leaves
	// reclaim is after how long a failed process may come back with another address.
	reclaim = 5 * time.Second
	// tcpPatience bounds one exchange of lists.
	tcpPatience = 5 * time.Second
	// exchange is how often a member exchanges its list with another; a third as often among
	// a hundred. What gossip did not bring to all, this does.
	exchange = 10 * time.Second
)

// Book keeps addresses on disk; *peers.Book does.
type Book interface {
	Peers() []string
	Keep(addrs []string) error
}

// Options of a Gossip.
type Options struct {
	// Self is what this process says of itself.
	Self *gossippb.Card
	// Deployment that all members are of.
	Deployment string
	// Keys of 16, 24 or 32 bytes: the first one seals, all of them open. It is asked again
	// now and then, so that keys may be changed while all run.
	Keys func() ([][]byte, error)
	// Listen is the address to bind, UDP and TCP; Advertise is what others are told, empty
	// for the bound one.
	Listen, Advertise string
	// Seeds are addresses that others may gossip on; asked whenever some are looked for.
	Seeds func() []string
	// Book keeps whom this process gossiped with; nil keeps nothing.
	Book Book
	// Log may be nil.
	Log *slog.Logger

	// network and dial replace sockets, tune changes memberlist's times: for tests.
	network guard.Network
	dial    func(ctx context.Context, addr string) (net.Conn, error)
	tune    func(*memberlist.Config)
}

// Gossip is one member. A nil one is a process that takes no part: it hears nobody.
type Gossip struct {
	o       Options
	log     *slog.Logger
	list    *memberlist.Memberlist
	ring    *memberlist.Keyring
	roster  *roster
	ledger  *ledger
	address string
	closing atomic.Bool
	done    chan struct{} // closed when all is ended; closed then has the error
	closed  error
}

// Open binds the port and begins to listen; Run finds the others. Close ends it.
func Open(o Options) (*Gossip, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gossip{o: o, log: o.Log, ledger: newLedger(o.Log), done: make(chan struct{})}
	meta, err := encode(o.Self)
	if err != nil {
		return nil, err
	}
	g.roster = newRoster(o.Self, g.ledger, o.Log)
	if g.ring, err = newRing(o.Keys); err != nil {
		return nil, err
	}
	cfg, err := g.configure(meta)
	if err != nil {
		return nil, err
	}
	if g.list, err = memberlist.Create(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("gossip: %w", err), cfg.Transport.Shutdown())
	}
	g.address = g.list.LocalNode().Address()
	return g, nil
}

// configure binds the port and says how memberlist shall be. Its times are those for one
// network: round trips across oceans fit into them, and a host that has failed is known
// before down_after.
func (g *Gossip) configure(meta []byte) (*memberlist.Config, error) {
	advertise, err := resolve(g.o.Advertise)
	if err != nil {
		return nil, fmt.Errorf("gossip: the address to advertise: %w", err)
	}
	logger := log.New(g.ledger, "", 0)
	network, dial := g.o.network, g.o.dial
	if network == nil {
		if network, err = bind(g.o.Listen, logger); err != nil {
			return nil, err
		}
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label = g.o.Self.GetId(), "drumline/"+g.o.Deployment
	c.Keyring, c.GossipVerifyIncoming, c.GossipVerifyOutgoing = g.ring, true, true
	c.Transport = guard.New(guard.Options{Network: network, Dial: dial, Refused: g.ledger.guarded})
	c.AdvertiseAddr, c.AdvertisePort = "", 0
	if advertise != nil {
		c.AdvertiseAddr, c.AdvertisePort = advertise.IP.String(), advertise.Port
	}
	c.TCPTimeout, c.DeadNodeReclaimTime, c.PushPullInterval = tcpPatience, reclaim, exchange
	c.EnableCompression = false // what is packed could be made to unpack into far more
	c.Delegate, c.Events, c.Alive = card(meta), g.roster, g.roster
	c.Logger, c.LogOutput = logger, nil
	if g.o.tune != nil {
		g.o.tune(c)
	}
	return c, nil
}

// resolve reads host:port; nil for none. A name is resolved once: a member is an address.
func resolve(addr string) (*net.TCPAddr, error) {
	if addr == "" {
		return nil, nil //nolint:nilnil // none was given, which is an ordinary answer
	}
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	if a.IP == nil {
		return nil, fmt.Errorf("%q names no host", addr)
	}
	return a, nil
}

// bind takes the port, for packets and for streams. A free port that is free for one kind
// may be taken for the other: then another one is tried.
func bind(listen string, logger *log.Logger) (*memberlist.NetTransport, error) {
	at, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("gossip port: %w", err)
	}
	ip := "::"
	if at.IP != nil {
		ip = at.IP.String()
	}
	tries := 1
	if at.Port == 0 {
		tries = 20
	}
	for range tries {
		var t *memberlist.NetTransport
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{ip}, BindPort: at.Port, Logger: logger})
		if err == nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("gossip port: %w", err)
}

// Address is where others reach this process's gossip; empty for a nil one.
func (g *Gossip) Address() string {
	if g == nil {
		return ""
	}
	return g.address
}

// Members lists all that were heard in the last hour, this process among them, by name.
func (g *Gossip) Members() []Member {
	if g == nil {
		return nil
	}
	return g.roster.members(time.Now(), g.address)
}

// Hears tells whether the process of that id is heard.
func (g *Gossip) Hears(id string) bool { return g != nil && g.roster.hears(id) }

// Run looks for others until ctx ends, and leaves then.
func (g *Gossip) Run(ctx context.Context) error {
	unhook := context.AfterFunc(ctx, func() { _ = g.Close() }) // ends a search under way; its error comes below
	defer unhook()
	for {
		g.rekey()
		g.seek(ctx)
		pause := seekOthers
		if len(g.roster.addresses()) == 0 {
			pause = seekAlone
		}
		t := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // jitter, no secret
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return g.Close()
		}
	}
}

// seek tries some of those that are known and not heard, and keeps those that are.
func (g *Gossip) seek(ctx context.Context) {
	heard := g.roster.addresses()
	var known []string
	if g.o.Seeds != nil {
		known = g.o.Seeds()
	}
	if g.o.Book != nil {
		known = append(known, g.o.Book.Peers()...)
		if err := g.o.Book.Keep(heard); err != nil {
			g.log.Warn("whom this process gossips with is not kept", "err", err)
		}
	}
	known = slices.DeleteFunc(known, func(a string) bool { return a == "" || a == g.address || slices.Contains(heard, a) })
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	for _, addr := range known[:min(len(known), seekAtOnce)] {
		if ctx.Err() != nil {
			return
		}
		if _, err := g.list.Join([]string{addr}); err != nil {
			g.log.Debug("nobody to gossip with", "address", addr, "err", err)
		}
	}
}

// Close says that this process leaves, and ends all that it has begun.
func (g *Gossip) Close() error {
	if g == nil {
		return nil
	}
	if g.closing.CompareAndSwap(false, true) {
		defer close(g.done)
		if err := g.list.Leave(leaveGrace); err != nil {
			g.log.Debug("not all were told that this process leaves", "err", err)
		}
		if err := g.list.Shutdown(); err != nil {
			g.closed = fmt.Errorf("close gossip: %w", err)
		}
		return g.closed
	}
	<-g.done
	return g.closed
}

// encode writes the card; it must fit into what a member may say.
func encode(c *gossippb.Card) ([]byte, error) {
	if err := check(c); err != nil {
		return nil, fmt.Errorf("gossip: what this process says of itself: %w", err)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("gossip: encode: %w", err)
	}
	if len(raw) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("gossip: name, region, zone and addresses have %d bytes together, %d fit; shorten them, or leave gossip.key_file out", len(raw), memberlist.MetaMaxSize)
	}
	return raw, nil
}

// card is what memberlist is given to say; nothing else travels.
type card []byte

// NodeMeta is the card.
func (c card) NodeMeta(int) []byte { return c }

// NotifyMsg ignores messages: members send none.
func (card) NotifyMsg([]byte) {}

// GetBroadcasts has none.
func (card) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has none.
func (card) LocalState(bool) []byte { return nil }

// MergeRemoteState ignores what comes beside the members.
func (card) MergeRemoteState([]byte, bool) {}

var _ prometheus.Collector = (*Collector)(nil)
