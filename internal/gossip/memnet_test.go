package gossip

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	gossippb "github.com/drumline/drumline/drummerpb/gossip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what must happen on a loaded machine.
const patience = 2 * time.Minute

// memnet is a network in memory: packets that find no room are lost, streams are pipes,
// and links may be cut.
type memnet struct {
	mu    sync.Mutex
	ports map[string]*port
	cut   func(from, to string) bool
}

// bubble runs f in virtual time. A probe under way outlives its member for a moment.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) })
		f(t)
	})
}

func newMemnet() *memnet { return &memnet{ports: make(map[string]*port)} }

// cutting cuts links from now on; nil heals all.
func (n *memnet) cutting(cut func(from, to string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

func (n *memnet) find(from, to string) *port {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut != nil && n.cut(from, to) {
		return nil
	}
	return n.ports[to]
}

// port is one process's place in it.
type port struct {
	n       *memnet
	ip      net.IP
	addr    string
	packets chan *memberlist.Packet
	streams chan net.Conn
	closed  chan struct{}
}

func (n *memnet) port(i int) *port {
	ip := net.IPv4(10, 0, byte(i>>8), byte(i)).To4()
	p := &port{
		n: n, ip: ip, addr: fmt.Sprintf("%s:7946", ip), closed: make(chan struct{}),
		packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[p.addr] = p
	return p
}

func (p *port) FinalAdvertiseAddr(string, int) (net.IP, int, error) { return p.ip, 7946, nil }

func (p *port) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if at := p.n.find(p.addr, to.Addr); at != nil {
		select {
		case at.packets <- &memberlist.Packet{Buf: bytes.Clone(b), From: &net.UDPAddr{IP: p.ip, Port: 7946}, Timestamp: time.Now()}:
		default:
		}
	}
	return time.Now(), nil
}

func (p *port) PacketCh() <-chan *memberlist.Packet { return p.packets }

func (p *port) StreamCh() <-chan net.Conn { return p.streams }

func (p *port) dial(ctx context.Context, addr string) (net.Conn, error) {
	at := p.n.find(p.addr, addr)
	if at == nil {
		return nil, errors.New("nobody there")
	}
	here, there := net.Pipe()
	select {
	case at.streams <- there:
		return here, nil
	case <-at.closed:
	case <-ctx.Done():
	}
	return nil, errors.Join(errors.New("nobody there"), here.Close(), there.Close())
}

func (p *port) Shutdown() error {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	delete(p.n.ports, p.addr)
	close(p.closed)
	return nil
}

// quick are times that suit a test on sockets; those on memnet run in virtual time, with
// the times of a real fleet.
func quick(c *memberlist.Config) {
	c.GossipInterval, c.ProbeInterval, c.ProbeTimeout = 50*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	c.PushPullInterval = time.Second
}

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func with(keys ...[]byte) func() ([][]byte, error) {
	return func() ([][]byte, error) { return keys, nil }
}

func cardOf(i int) *gossippb.Card {
	kind := gossippb.Kind_KIND_HOST
	if i%10 == 0 {
		kind = gossippb.Kind_KIND_DRUMMER
	}
	return &gossippb.Card{
		Id: fmt.Sprintf("id-%03d", i), Name: fmt.Sprintf("host-%03d", i), Kind: kind, Region: []string{"ord", "hkg", "ams"}[i%3], Zone: "a",
		Api: fmt.Sprintf("10.0.0.%d:7001", i), Raft: fmt.Sprintf("10.0.0.%d:7002", i), Http: fmt.Sprintf("10.0.0.%d:7003", i), Version: "v1", BootEpoch: 1,
	}
}

// options of member i on a network in memory.
func options(n *memnet, i int, seeds ...string) Options {
	p := n.port(i)
	return Options{
		Self: cardOf(i), Deployment: "test", Keys: with(key(1)), Seeds: func() []string { return seeds },
		network: p, dial: p.dial,
	}
}

// crash ends a member without a word to the others.
func crash(t *testing.T, g *Gossip) {
	t.Helper()
	require.True(t, g.closing.CompareAndSwap(false, true))
	require.NoError(t, g.list.Shutdown())
	close(g.done)
}

// join opens a member, has it look for the others once, and closes it with the test.
func join(t *testing.T, o Options) *Gossip {
	t.Helper()
	g, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	g.seek(t.Context())
	return g
}

// hear waits until g hears just so many, itself among them.
func hear(t *testing.T, g *Gossip, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return heard(g) == n }, patience, 50*time.Millisecond, "want %d heard", n)
}

func heard(g *Gossip) int {
	n := 0
	for _, m := range g.Members() {
		if m.State == Heard {
			n++
		}
	}
	return n
}

// seal makes a packet as a member with the key would.
func seal(t *testing.T, k []byte, deployment string, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(k)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	label := "drumline/" + deployment
	nonce := make([]byte, gcm.NonceSize())
	_, err = rand.Read(nonce)
	require.NoError(t, err)
	out := append([]byte{244, byte(len(label))}, label...)
	out = append(out, 1) // the version of the seal
	out = append(out, nonce...)
	return gcm.Seal(out, nonce, plain, []byte(label))
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
