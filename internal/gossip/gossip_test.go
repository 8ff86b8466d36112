package gossip

import (
	"bytes"
	"context"
	"encoding/binary"
	"log"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	gossippb "github.com/drumline/drumline/drummerpb/gossip"
	"github.com/drumline/drumline/internal/gossip/guard"
	"github.com/drumline/drumline/internal/gossip/peers"
)

func TestAHundredMembersConverge(t *testing.T) { bubble(t, aHundredMembersConverge) }

func aHundredMembersConverge(t *testing.T) {
	const members = 100 / fewer
	n := newMemnet()
	all := make([]*Gossip, members)
	for i := range all {
		var seeds []string
		if i > 0 { // each is told of one earlier one only
			seeds = []string{all[rand.IntN(i)].Address()}
		}
		all[i] = join(t, options(n, i, seeds...))
	}
	begin := time.Now()
	for _, g := range all {
		hear(t, g, members)
	}
	t.Logf("all have heard of all after %s", time.Since(begin))
	for _, m := range all[17].Members() {
		require.Equal(t, Heard, m.State)
		require.NotEmpty(t, m.Card.GetApi())
		require.True(t, all[17].Hears(m.Card.GetId()))
	}

	gone, dead := members-1, members-2
	require.NoError(t, all[gone].Close())
	begin = time.Now()
	crash(t, all[dead])
	for _, g := range all[:dead] {
		hear(t, g, members-2)
		require.False(t, g.Hears(cardOf(dead).GetId()))
		require.False(t, g.Hears(cardOf(gone).GetId()))
		require.Len(t, g.Members(), members, "who has gone is shown for a while")
	}
	took := time.Since(begin)
	t.Logf("none hears the one that died after %s", took)
	require.Less(t, took, 30*time.Second, "before Drummer would replace it")
}

func TestWhoFailsIsNotHeardAndWhoIsCutOffFromOneIsHeardThroughOthers(t *testing.T) {
	bubble(t, whoFailsIsNotHeardAndWhoIsCutOffFromOneIsHeardThroughOthers)
}

func whoFailsIsNotHeardAndWhoIsCutOffFromOneIsHeardThroughOthers(t *testing.T) {
	n := newMemnet()
	first := join(t, options(n, 0))
	all := []*Gossip{first}
	for i := 1; i < 5; i++ {
		all = append(all, join(t, options(n, i, first.Address())))
	}
	for _, g := range all {
		hear(t, g, 5)
	}
	a, b := all[0].Address(), all[1].Address()
	var lost atomic.Int32
	n.cutting(func(from, to string) bool {
		between := from == a && to == b || from == b && to == a
		if between {
			lost.Add(1)
		}
		return between
	})
	require.Eventually(t, func() bool { // or they would stay unheard
		return lost.Load() > 30 && all[0].Hears("id-001") && all[1].Hears("id-000")
	}, patience, 10*time.Millisecond, "the others can reach both")

	n.cutting(func(from, to string) bool { return from == b || to == b })
	for i, g := range all {
		if i == 1 {
			hear(t, g, 1)
		} else {
			hear(t, g, 4)
			require.False(t, g.Hears("id-001"))
		}
	}
	n.cutting(nil)
	all[1].seek(t.Context()) // as Run does all the time
	for _, g := range all {
		hear(t, g, 5)
	}
}

func TestWithoutTheKeyNobodyJoins(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		reason Reason
	}{
		{"another key", func(o *Options) { o.Keys = with(key(2)) }, Forged},
		{"another deployment", func(o *Options) { o.Deployment = "other" }, Foreign},
		{"no key", func(o *Options) {
			o.tune = func(c *memberlist.Config) {
				c.Keyring, c.GossipVerifyIncoming, c.GossipVerifyOutgoing = nil, false, false
			}
		}, Forged},
		{"no key and no deployment", func(o *Options) {
			o.tune = func(c *memberlist.Config) {
				c.Keyring, c.Label, c.GossipVerifyIncoming, c.GossipVerifyOutgoing = nil, "", false, false
			}
		}, Foreign},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newMemnet()
				g := join(t, options(n, 0))
				o := options(n, 1, g.Address())
				c.change(&o)
				stranger := join(t, o)
				time.Sleep(time.Minute)
				require.Positive(t, g.ledger.refused(c.reason))
				require.Equal(t, 1, heard(g))
				require.Equal(t, 1, heard(stranger), "and learns of nobody")
			})
		})
	}
}

func TestThereIsNoGossipWithoutAKey(t *testing.T) {
	n := newMemnet()
	for name, keys := range map[string]func() ([][]byte, error){
		"nothing": nil, "none": with(), "short": with([]byte("short")), "unreadable": func() ([][]byte, error) { return nil, context.Canceled },
	} {
		o := options(n, 0)
		o.Keys = keys
		_, err := Open(o)
		require.Error(t, err, name)
	}
}

// loopback is a member on sockets.
func loopback(t *testing.T, i int, seeds ...string) *Gossip {
	t.Helper()
	return join(t, Options{Self: cardOf(i), Deployment: "test", Keys: with(key(1)), Listen: "127.0.0.1:0", Seeds: func() []string { return seeds }, tune: quick})
}

func TestWhatIsForgedOversizedOrMalformedChangesNothingAndIsCounted(t *testing.T) {
	g := loopback(t, 0)
	other := loopback(t, 1, g.Address())
	hear(t, g, 2)
	packet := func(b []byte) func(*testing.T) {
		return func(t *testing.T) {
			c, err := net.Dial("udp", g.Address())
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Write(b)
			require.NoError(t, err)
		}
	}
	stream := func(b []byte) func(*testing.T) {
		return func(t *testing.T) {
			c, err := net.Dial("tcp", g.Address())
			require.NoError(t, err)
			defer c.Close()
			_, _ = c.Write(b) // it may be closed in the middle
			_ = c.SetReadDeadline(time.Now().Add(patience))
			_, _ = c.Read(make([]byte, 1)) // until the other side is done with it
		}
	}
	labelled := append([]byte{244, 13}, "drumline/test"...)
	flood := append(bytes.Clone(labelled), 10) // a sealed stream
	flood = binary.BigEndian.AppendUint32(flood, guard.MaxStream+1<<20)
	flood = append(flood, make([]byte, guard.MaxStream+1<<20)...)
	for _, c := range []struct {
		name   string
		send   func(*testing.T)
		reason Reason
	}{
		{"a packet of anybody", packet([]byte("GET / HTTP/1.1\r\n\r\n")), Foreign},
		{"a packet of a member without the seal", packet(append(bytes.Clone(labelled), 4, 1, 2, 3)), Forged},
		{"a packet with another key", packet(seal(t, key(9), "test", []byte{4})), Forged},
		{"a packet of another deployment", packet(seal(t, key(1), "other", []byte{4})), Foreign},
		{"a packet that is too long", packet(make([]byte, guard.MaxPacket+1)), Oversized},
		{"a sealed packet of no kind", packet(seal(t, key(1), "test", []byte{99, 1, 2})), Malformed},
		{"a sealed packet with nothing in it", packet(seal(t, key(1), "test", nil)), Malformed},
		{"a sealed death that does not decode", packet(seal(t, key(1), "test", []byte{5, 0xc1, 0xc1})), Malformed},
		{"a sealed list that is cut short", packet(seal(t, key(1), "test", []byte{7, 200, 0})), Malformed},
		{"a stream of anybody", stream([]byte("GET / HTTP/1.1\r\n\r\n")), Foreign},
		{"a stream without a seal", stream(append(bytes.Clone(labelled), 6, 1, 2, 3)), Forged},
		{"a stream that is too long", stream(flood), Oversized},
		{"a stream that would be longer than any", stream(binary.BigEndian.AppendUint32(append(bytes.Clone(labelled), 10), 1<<31)), Oversized},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := g.ledger.refused(c.reason)
			c.send(t)
			require.Eventually(t, func() bool { return g.ledger.refused(c.reason) > before }, patience, 5*time.Millisecond)
			require.Equal(t, 2, heard(g))
			require.True(t, g.Hears("id-001"))
		})
	}
	require.Equal(t, 2, heard(other))
	problems, err := testutil.CollectAndLint(NewCollector(g, "nodehost"))
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Equal(t, 2+len(reasons())+1, testutil.CollectAndCount(NewCollector(g, "nodehost")))
}

// says has a member say something else than its card; memberlist alone would take it.
func says(meta []byte) func(*memberlist.Config) {
	return func(c *memberlist.Config) { c.Delegate, c.Alive, c.Events = card(meta), nil, nil }
}

func TestAMemberWithTheKeyIsRefusedWhenItSaysWhatNoProcessWould(t *testing.T) {
	another, err := encode(cardOf(7))
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		meta []byte
	}{
		{"nothing", nil},
		{"no card", []byte{0xff, 0xff}},
		{"another's card", another},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newMemnet()
				g := join(t, options(n, 0))
				o := options(n, 1, g.Address())
				o.tune = says(c.meta)
				join(t, o)
				time.Sleep(time.Minute)
				require.Positive(t, g.ledger.refused(Refused))
				require.Len(t, g.Members(), 1)
			})
		})
	}
}

func TestCardsAreChecked(t *testing.T) {
	for name, spoil := range map[string]func(*gossippb.Card){
		"no kind":      func(c *gossippb.Card) { c.Kind = 0 },
		"unknown kind": func(c *gossippb.Card) { c.Kind = 9 },
		"no id":        func(c *gossippb.Card) { c.Id = "" },
		"no name":      func(c *gossippb.Card) { c.Name = "" },
		"no address":   func(c *gossippb.Card) { c.Api = "" },
		"control":      func(c *gossippb.Card) { c.Zone = "a\nb" },
		"not text":     func(c *gossippb.Card) { c.Region = "\xff" },
		"long":         func(c *gossippb.Card) { c.Version = strings.Repeat("x", maxText+1) },
		"too much": func(c *gossippb.Card) {
			c.Name, c.Zone, c.Region = strings.Repeat("x", 200), strings.Repeat("x", 200), strings.Repeat("x", 200)
		},
	} {
		c := cardOf(1)
		spoil(c)
		_, err := encode(c)
		require.Error(t, err, name)
	}
}

func TestAnEarlierStartOfAProcessIsStale(t *testing.T) { bubble(t, anEarlierStartOfAProcessIsStale) }

func anEarlierStartOfAProcessIsStale(t *testing.T) {
	n := newMemnet()
	g := join(t, options(n, 0))
	o := options(n, 1, g.Address())
	o.Self.BootEpoch = 5
	now := join(t, o)
	hear(t, g, 2)
	require.NoError(t, now.Close())
	hear(t, g, 1)

	old := options(n, 2, g.Address())
	old.Self = cardOf(1) // start 1, of an old copy of its directory
	join(t, old)
	require.Eventually(t, func() bool { return g.ledger.refused(Stale) > 0 }, patience, 10*time.Millisecond)
	require.False(t, g.Hears("id-001"))
}

func TestAProcessComesBackAtAnotherAddress(t *testing.T) {
	bubble(t, aProcessComesBackAtAnotherAddress)
}

func aProcessComesBackAtAnotherAddress(t *testing.T) {
	n := newMemnet()
	g := join(t, options(n, 0))
	third := join(t, options(n, 2, g.Address()))
	before := join(t, options(n, 1, g.Address()))
	hear(t, g, 3)
	crash(t, before)
	hear(t, g, 2)
	hear(t, third, 2)
	o := options(n, 9, g.Address())
	o.Self = cardOf(1)
	o.Self.BootEpoch = 2
	again := join(t, o)
	require.Eventually(t, func() bool {
		again.seek(t.Context())
		return g.Hears("id-001") && third.Hears("id-001") && heard(again) == 3
	}, patience, 50*time.Millisecond)
	for _, m := range third.Members() {
		if m.Card.GetId() == "id-001" {
			require.Equal(t, again.Address(), m.Address)
			require.EqualValues(t, 2, m.Card.GetBootEpoch())
		}
	}
}

func TestTwoProcessesUnderOneIDAreAConflict(t *testing.T) {
	bubble(t, twoProcessesUnderOneIDAreAConflict)
}

func twoProcessesUnderOneIDAreAConflict(t *testing.T) {
	n := newMemnet()
	g := join(t, options(n, 0))
	first := join(t, options(n, 1, g.Address()))
	hear(t, g, 2)
	o := options(n, 9, g.Address())
	o.Self = cardOf(1)
	join(t, o)
	require.Eventually(t, func() bool { return g.ledger.refused(Conflict) > 0 }, patience, 10*time.Millisecond)
	for _, m := range g.Members() {
		if m.Card.GetId() == "id-001" {
			require.Equal(t, first.Address(), m.Address)
		}
	}
}

func TestKeysAreChangedWhileAllRun(t *testing.T) { bubble(t, keysAreChangedWhileAllRun) }

func keysAreChangedWhileAllRun(t *testing.T) {
	n := newMemnet()
	var ring atomic.Pointer[[][]byte]
	ring.Store(&[][]byte{key(1)})
	read := func() ([][]byte, error) { return *ring.Load(), nil }
	var all []*Gossip
	for i := range 3 {
		o := options(n, i, "10.0.0.0:7946")
		o.Keys = read
		all = append(all, join(t, o))
	}
	for _, keys := range [][][]byte{{key(1), key(2)}, {key(2), key(1)}, {key(2)}, {}} { // none: the last ones stay
		ring.Store(&keys)
		for _, g := range all {
			g.rekey()
		}
		for _, g := range all {
			hear(t, g, 3)
		}
	}
	o := options(n, 7, "10.0.0.0:7946")
	join(t, o) // has the old key
	require.Equal(t, 3, heard(all[0]))
	require.Positive(t, all[0].ledger.refused(Forged))
}

func TestRunFindsTheOthersFromWhatIsOnDiskAlone(t *testing.T) {
	bubble(t, runFindsTheOthersFromWhatIsOnDiskAlone)
}

func runFindsTheOthersFromWhatIsOnDiskAlone(t *testing.T) {
	n := newMemnet()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	first := join(t, options(n, 0))

	run := func(o Options) (*Gossip, func()) {
		book, err := peers.Open(db)
		require.NoError(t, err)
		o.Book = book
		g, err := Open(o)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		return g, func() { cancel(); require.NoError(t, <-ended) }
	}
	g, stop := run(options(n, 1, first.Address(), "10.9.9.9:1"))
	hear(t, g, 2)
	require.NoError(t, book(g).Keep(g.roster.addresses()))
	stop()
	hear(t, first, 1)

	o := options(n, 1) // nobody tells it
	o.Self.BootEpoch = 2
	g, stop = run(o)
	hear(t, g, 2)
	hear(t, first, 2)
	stop()
}

func book(g *Gossip) Book { return g.o.Book }

func TestANilGossipHearsNobody(t *testing.T) {
	var g *Gossip
	require.Empty(t, g.Address())
	require.Empty(t, g.Members())
	require.False(t, g.Hears("x"))
	require.NoError(t, g.Close())
	require.Zero(t, testutil.CollectAndCount(NewCollector(g, "drummer")))
}

func TestThePortMustBeFree(t *testing.T) {
	g := loopback(t, 0)
	_, err := Open(Options{Self: cardOf(1), Deployment: "test", Keys: with(key(1)), Listen: g.Address()})
	require.ErrorContains(t, err, "gossip port")
	for _, bad := range []string{"", "nowhere", ":99999"} {
		_, err := Open(Options{Self: cardOf(1), Deployment: "test", Keys: with(key(1)), Listen: "127.0.0.1:0", Advertise: "x" + bad})
		require.Error(t, err)
	}
}

// FuzzSealed: whatever a member with the key sends, nobody panics and nobody is made up.
func FuzzSealed(f *testing.F) {
	for _, seed := range [][]byte{{0}, {1, 0x80}, {3, 0x81}, {4, 0xa0}, {5, 0x80}, {7, 2, 0, 1, 0, 1}, {8, 1}, {9, 0x80}, {12, 0, 0, 0, 0, 1}, {244, 1, 1}} {
		f.Add(seed)
	}
	n := newMemnet()
	o := options(n, 0)
	g, err := Open(o)
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, g.Close()) })
	at := n.find("", g.Address())
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) > 1400 {
			return
		}
		for _, b := range [][]byte{plain, seal(t, key(1), "test", plain)} {
			at.packets <- &memberlist.Packet{Buf: b, From: &net.UDPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 1}, Timestamp: time.Now()}
		}
		for _, m := range g.Members() {
			require.Equal(t, "id-000", m.Card.GetId())
		}
	})
}

// TestLinesOfTheLogAreClassed holds the words that the ledger looks for against what the
// version in use writes.
func TestLinesOfTheLogAreClassed(t *testing.T) {
	for line, reason := range map[string]Reason{
		`[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=1.2.3.4:5`:          Forged,
		`[ERR] memberlist: failed to receive: encryption is configured but remote state is not encrypted from=1.2.3.4`: Forged,
		`[ERR] memberlist: failed to receive: remote node state is larger than limit (99999999) from=1.2.3.4:5`:        Oversized,
		`[ERR] memberlist: discarding packet with unacceptable label "": from=1.2.3.4:5`:                               Foreign,
		`[ERR] memberlist: Failed to decode alive message: EOF from=1.2.3.4:5`:                                         Malformed,
		`[WARN] memberlist: Got invalid checksum for UDP packet: 1, 2`:                                                 Malformed,
		`[ERR] memberlist: Conflicting address for x. Mine: 1 Theirs: 2 Old state: 0`:                                  Conflict,
	} {
		l := newLedger(discard())
		log.New(l, "", 0).Print(line)
		for _, r := range reasons() {
			want := uint64(0)
			if r == reason {
				want = 1
			}
			require.Equal(t, want, l.refused(r), "%s: %s", line, r)
		}
	}
	l := newLedger(discard())
	log.New(l, "", 0).Print("[DEBUG] memberlist: Failed to join 1.2.3.4: truncated")
	log.New(l, "", 0).Print("[INFO] memberlist: Suspect x has failed, no acks received")
	for _, r := range reasons() {
		require.Zero(t, l.refused(r))
	}
}
