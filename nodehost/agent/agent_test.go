package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
)

// deadAddr is an address where nobody listens.
func deadAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func TestHelloTellsEverythingAndReportsTellNews(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	first := d.next() // before there is anything
	require.Equal(t, "test", first.hello.GetDeployment())
	require.Equal(t, "me", first.hello.GetHost().GetId())
	require.Equal(t, "v1", first.hello.GetVersion())
	require.Empty(t, first.hello.GetReplicas())
	a.replicas.set(1000, 1, 5)
	a.replicas.set(1001, 1, 5)
	first.fail <- fault.New(fault.Unavailable, "try again")

	c := d.admit()
	require.Len(t, c.hello.GetReplicas(), 2)
	<-a.Welcomed()
	require.Equal(t, uint64(1), c.beat(t).GetSequence())
	require.Equal(t, uint64(2), c.beat(t).GetSequence())

	a.replicas.set(1000, 2, 6)
	a.Changed(replicas.KeyOf(1000, 1), false)
	a.Changed(replicas.KeyOf(1001, 1), false)
	got := c.report(t)
	require.Len(t, got.GetChanged(), 1, "1001 has not changed")
	require.Equal(t, uint64(2), got.GetChanged()[0].GetLeaderReplica())

	a.replicas.set(1001, 1, 9) // nobody tells
	got = c.report(t)
	require.Equal(t, uint64(9), got.GetChanged()[0].GetApplied(), "the comparison finds it")

	a.replicas.mu.Lock()
	delete(a.replicas.reports, replicas.KeyOf(1000, 1))
	a.replicas.mu.Unlock()
	a.Changed(replicas.KeyOf(1000, 1), true)
	require.Equal(t, uint64(1000), c.report(t).GetGone()[0].GetGroup())
	a.Changed(replicas.KeyOf(1000, 1), true)
	require.Equal(t, uint64(1000), c.report(t).GetGone()[0].GetGroup(), "said again when it is asked again")

	s := a.Stats()
	require.Equal(t, []any{d.addr, uint64(2), uint64(7), uint64(1)}, []any{s.Drummer, s.Incarnation, s.Term, s.Sessions})
	require.NotZero(t, s.Failures)
	require.Equal(t, []replicas.Fence{{Incarnation: 2, Term: 7}}, a.replicas.fences)
	require.Equal(t, []ids.Group{1005}, a.replicas.banned)
}

func TestALongHelloComesInParts(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	first := d.next()
	for g := range uint64(2*helloPart + 1) {
		a.replicas.set(1000+g, 1, 5)
	}
	first.fail <- fault.New(fault.Unavailable, "try again")
	c := d.next()
	require.Equal(t, "me", c.hello.GetHost().GetId())
	require.Len(t, c.hello.GetReplicas(), helloPart)
	require.True(t, c.hello.GetMore())
	second, last := (<-c.in).GetHello(), (<-c.in).GetHello()
	require.Len(t, second.GetReplicas(), helloPart)
	require.True(t, second.GetMore())
	require.Len(t, last.GetReplicas(), 1)
	require.False(t, last.GetMore())
}

func TestALongReportComesInParts(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	c := d.admit()
	for i := range uint64(600) {
		a.replicas.set(1000+i, 1, 1)
	}
	seen := 0
	for seen < 600 {
		n := len(c.report(t).GetChanged())
		require.LessOrEqual(t, n, partSize)
		seen += n
	}
	require.Equal(t, 600, seen)
}

func TestHeartbeatsDoNotWaitForSlowReports(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	c := d.admit()
	a.replicas.set(1000, 1, 1)
	slow := make(chan struct{})
	a.replicas.mu.Lock()
	a.replicas.slow = slow
	a.replicas.mu.Unlock()
	a.Changed(replicas.KeyOf(1000, 1), false)
	begun := time.Now()
	for range 10 {
		c.beat(t)
	}
	require.Less(t, time.Since(begun), 20*time.Second)
	close(slow)
	c.report(t)
}

func TestOrdersAreHandedOverAndAnswered(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	c := d.admit()
	c.out <- orderMessage(1)
	c.out <- orderMessage(2)
	first, second := <-a.replicas.orders, <-a.replicas.orders
	second(&drummerpb.OrderResult{Order: 2, Ok: true})
	require.Equal(t, uint64(2), expect(t, c, "result", (*drummerpb.HostMessage).GetResult).GetOrder(), "no order waits for another")
	c.fail <- fault.New(fault.Unavailable, "stopping")
	again := d.admit()
	first(&drummerpb.OrderResult{Order: 1, Ok: true}) // of a session that is over: nobody waits for it
	again.out <- orderMessage(3)
	(<-a.replicas.orders)(&drummerpb.OrderResult{Order: 3})
	require.Equal(t, uint64(3), expect(t, again, "result", (*drummerpb.HostMessage).GetResult).GetOrder())
}

func TestTheAgentFollowsTheLeader(t *testing.T) {
	follower, leader := newDrummer(t), newDrummer(t)
	a := newDesk(t, deadAddr(t), follower.addr)
	follower.next().out <- redirect(leader.addr)
	c := leader.admit()
	c.beat(t)
	require.Eventually(t, func() bool { return a.Stats().Drummer == leader.addr }, patience, time.Millisecond)
	c.out <- redirect(follower.addr) // it leads no more
	follower.admit().beat(t)
}

func TestConfigurationsArePassedOn(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	configurations := func(list ...*fleetpb.Configuration) *drummerpb.SupervisorMessage {
		return &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Configurations{Configurations: &drummerpb.Configurations{Configurations: list}}}
	}
	c := d.admit()
	c.out <- configurations(&fleetpb.Configuration{App: "kv", Revision: 1}) // nobody wants it
	c.out <- orderMessage(1)
	<-a.replicas.orders
	a.stop()

	told := make(chan []*fleetpb.Configuration, 2)
	a.tweak = func(o *Options) {
		o.Configured = func(list []*fleetpb.Configuration) error {
			told <- list
			return errors.New("the disk is full")
		}
	}
	a.open(d.addr)
	c = d.admit()
	c.out <- configurations(&fleetpb.Configuration{App: "kv", Revision: 1}, &fleetpb.Configuration{App: "board", Revision: 7})
	c.out <- configurations(&fleetpb.Configuration{App: "kv", Revision: 2})
	require.Len(t, <-told, 2)
	require.EqualValues(t, 2, (<-told)[0].GetRevision(), "a full disk does not end the stream")
}

func TestAddressesAreKept(t *testing.T) {
	first, second := newDrummer(t), newDrummer(t)
	a := newDesk(t, first.addr)
	c := first.admit()
	c.out <- &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Addresses{Addresses: &drummerpb.Addresses{
		Hosts: []*drummerpb.HostAddress{
			{Id: "me", Name: "h1", Raft: "r1", Api: "a1", BootEpoch: 4},
			{Id: "h2", Name: "two", Region: "east", Raft: "r2", Api: "a2", BootEpoch: 9},
		},
		Drummers: []string{first.addr, second.addr},
	}}}
	c.out <- &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Addresses{Addresses: &drummerpb.Addresses{
		Hosts: []*drummerpb.HostAddress{{Id: "h2", Name: "two", Raft: "old", Api: "old", BootEpoch: 8}},
	}}}
	c.out <- orderMessage(1)
	<-a.replicas.orders // comes after the addresses
	api, ok := a.API("h2")
	require.True(t, ok)
	require.Equal(t, "a2", api, "of the newest start")
	require.Equal(t, "r2", a.book.m["h2"])
	require.NotContains(t, a.book.m, ids.Host("me"))
	a.stop()

	a.tweak = func(o *Options) { o.Handshake = time.Second }
	a.open(deadAddr(t)) // the configured drummer has moved away
	d := second.next()
	d.welcome()
	d.beat(t)
	require.Equal(t, []Entry{{ID: "me", Name: "h1", API: "a1", BootEpoch: 4}, {ID: "h2", Name: "two", Region: "east", API: "a2", BootEpoch: 9}}, a.Hosts())
}

// A machine that stands still for longer than the silence that is borne shows nothing:
// then it is tried again.
func TestADrummerThatGivesNoSignOfLifeIsLeft(t *testing.T) {
	for range 10 {
		if leavesAFrozenDrummer(t) {
			return
		}
	}
	t.Fatal("a drummer is left although it answers")
}

func leavesAFrozenDrummer(t *testing.T) bool {
	t.Helper()
	frozen, other := newDrummer(t), newDrummer(t)
	d := newDesk(t, deadAddr(t))
	d.stop()
	const silence = 1500 * time.Millisecond
	d.tweak = func(o *Options) { o.Silence = silence }
	d.open(frozen.addr, other.addr)
	defer d.stop()
	c := frozen.admit()
	for range 4 * silence / 3 / beat { // longer than the silence that is borne: it answers when asked
		if !c.beats(t) {
			return false
		}
	}
	close(frozen.frozen)
	for !other.admit().beats(t) { // it answers too late when the machine stands still
	}
	c.ended(t)
	return true
}

func TestADrummerThatDoesNotWelcomeIsLeft(t *testing.T) {
	mute, other := newDrummer(t), newDrummer(t)
	d := newDesk(t, mute.addr, other.addr)
	d.stop()
	d.tweak = func(o *Options) { o.Handshake = time.Second }
	d.open(mute.addr, other.addr)
	c := mute.next()
	for !other.admit().beats(t) { // a machine that stands still welcomes too late
	}
	c.ended(t)
}

func TestGoodbyeIsTheLastWord(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	c := d.admit()
	c.beat(t)
	go func() {
		expect(t, c, "goodbye", (*drummerpb.HostMessage).GetGoodbye)
		for m := range c.in {
			t.Errorf("after the goodbye came %v", m)
		}
		c.fail <- nil
	}()
	require.NoError(t, a.Goodbye(t.Context()))
	<-a.ran
	require.NoError(t, a.err)
	require.NoError(t, a.Goodbye(t.Context()), "twice is fine")
}

func TestGoodbyeWithNoDrummerInSight(t *testing.T) {
	a := newDesk(t, deadAddr(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, a.Goodbye(ctx))
}

func TestARefusalThatLastsEndsTheAgent(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, deadAddr(t))
	a.stop()
	a.tweak = func(o *Options) { o.Patience = 300 * time.Millisecond }
	a.open(d.addr)
	for ended := false; !ended; {
		select {
		case c := <-d.stands:
			c.fail <- conflict("host id me was declared lost")
			require.Eventually(t, a.Refused, patience, time.Millisecond)
		case <-a.ran:
			ended = true
		case <-time.After(patience):
			t.Fatal("the agent goes on")
		}
	}
	var refusal *Refusal
	require.ErrorAs(t, a.err, &refusal)
	require.ErrorContains(t, a.err, "host id me was declared lost")
	select {
	case <-a.Welcomed():
		t.Fatal("welcomed")
	default:
	}
}

func TestASpentIdentityEndsTheAgentAtOnce(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	d.next().fail <- fault.New(fault.HostRefused, "host id me was declared lost")
	select {
	case <-a.ran:
	case <-time.After(patience):
		t.Fatal("the agent goes on")
	}
	var refusal *Refusal
	require.ErrorAs(t, a.err, &refusal)
}

func TestAnotherFleetIsNotAttended(t *testing.T) {
	a := newDesk(t, deadAddr(t))
	require.NoError(t, a.dir.attend("ours", 1))
	require.ErrorContains(t, a.dir.attend("theirs", 1), "this host belongs to fleet ours")
	require.False(t, a.Refused(), "other drummers are no reason to stop")
	a.stop()
	d := newDrummer(t)
	a.open(d.addr) // a restart does not forget
	require.Equal(t, "ours", d.next().hello.GetFleet())
}

func TestARefusalThatPassesDoesNot(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, d.addr)
	for range 3 {
		d.next().fail <- conflict("host id me is connected already")
	}
	c := d.admit()
	<-a.Welcomed()
	require.False(t, a.Refused())
	for range 20 {
		c.beat(t)
	}
	c.fail <- conflict("the host has connected anew") // after the welcome it is no refusal
	d.admit().beat(t)
}

func TestTheLocatorAsksOneDrummerAfterTheOther(t *testing.T) {
	none, some := newDrummer(t), newDrummer(t)
	none.location = func(*hostpb.GroupRef) (*hostpb.Location, error) {
		return nil, fault.New(fault.NotSupervisor, "no drummer leads")
	}
	some.location = func(ref *hostpb.GroupRef) (*hostpb.Location, error) {
		if ref.GetName() == "kv/a" {
			return &hostpb.Location{Name: "kv/a", Id: 1000}, nil
		}
		return nil, fault.New(fault.GroupNotFound, "no group %s", ref.GetName())
	}
	a := newDesk(t, deadAddr(t), none.addr, some.addr)
	l, err := a.Locate(t.Context(), &hostpb.GroupRef{Name: "kv/a"})
	require.NoError(t, err)
	require.Equal(t, uint64(1000), l.GetId())
	l, err = a.FirstUse(t.Context(), "kv/a")
	require.NoError(t, err)
	require.NotZero(t, l.GetId())
	_, err = a.Locate(t.Context(), &hostpb.GroupRef{Name: "kv/b"})
	require.True(t, fault.Is(err, fault.GroupNotFound), "that there is none is an answer: %v", err)
	servers, err := a.Servers(t.Context())
	require.NoError(t, err)
	require.Equal(t, none.addr, servers[0].GetApi())

	alone := newDesk(t, deadAddr(t), none.addr)
	_, err = alone.Locate(t.Context(), &hostpb.GroupRef{Name: "kv/a"})
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
}

func TestWhyADrummerIsLeftIsSaidOnce(t *testing.T) {
	var out bytes.Buffer
	a := &Agent{o: Options{Log: slog.New(slog.NewTextHandler(&out, nil))}, said: map[string]string{}}
	foreign := end{err: fault.New(fault.Unavailable, "the host belongs to fleet ours")}
	for range 3 {
		require.NoError(t, a.judge("d1:1", foreign))
	}
	require.Equal(t, 1, strings.Count(out.String(), "belongs to fleet ours"))
	require.NoError(t, a.judge("d2:1", foreign))
	require.Equal(t, 2, strings.Count(out.String(), "belongs to fleet ours"), "another drummer is news")
	require.NoError(t, a.judge("d1:1", end{err: errors.New("refused")}))
	require.Contains(t, out.String(), "err=refused")
}

func TestASucceededRecordIsNotAttended(t *testing.T) {
	a := newDesk(t, deadAddr(t))
	require.NoError(t, a.dir.attend("ours", 3))
	require.NoError(t, a.dir.attend("ours", 4))
	require.ErrorContains(t, a.dir.attend("ours", 3), "another group of drummers has taken its place")
	again, err := openDirectory(a.dir.db)
	require.NoError(t, err)
	require.Error(t, again.attend("ours", 3), "it is on disk")
	require.NoError(t, again.attend("ours", 4))
	a.stop()
}
