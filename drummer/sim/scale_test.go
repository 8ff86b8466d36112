package sim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// large is a whole fleet in the memory of the drummer that leads, with the real record,
// loop and planner, and what hosts say of it as bytes on the wire.
type large struct {
	m      *fleet.Machine
	c      *loop.Core
	now    time.Duration
	hosts  int
	groups int
	// hellos and reports are encoded messages, by host; leader is the first replica.
	hellos, reports [][]byte

	proposals, orders int
	slowest           time.Duration // pass
}

func newLarge(t testing.TB, hosts, groups int) *large {
	l := &large{m: fleet.New(), hosts: hosts, groups: groups}
	l.apply(t, &fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: &fleetpb.Policy{OperationsPerHost: 10_000, OperationsTotal: 100_000, OperationsPerRegion: 100_000}}})
	said := make([]*drummerpb.Hello, hosts)
	for i := range hosts {
		h := &fleetpb.Host{Id: l.host(i), Name: l.host(i), Region: "r", Api: "x:1", Raft: "x:2", BootEpoch: 1, Age: 7, Apps: []*fleetpb.App{{Name: "kv", Version: 1}}}
		l.apply(t, &fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: h}})
		said[i] = &drummerpb.Hello{Deployment: "d", Host: h, Version: "v1"}
	}
	for from := 0; from < groups; from += 10_000 {
		var specs []*fleetpb.Spec
		for i := from; i < min(groups, from+10_000); i++ {
			specs = append(specs, spec(fmt.Sprintf("kv/%06d", i), 3))
		}
		l.apply(t, &fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: specs}}})
	}
	for i := range groups {
		l.launch(t, uint64(ids.FirstGroup)+uint64(i), said, i)
	}
	for _, h := range said {
		l.hellos = append(l.hellos, encode(t, &drummerpb.HostMessage{Body: &drummerpb.HostMessage_Hello{Hello: h}}))
		for _, r := range h.GetReplicas() {
			r.Applied += 100
		}
		l.reports = append(l.reports, encode(t, &drummerpb.HostMessage{Body: &drummerpb.HostMessage_Report{Report: &drummerpb.Report{Changed: h.GetReplicas()}}}))
	}
	return l
}

func encode(t testing.TB, m proto.Message) []byte {
	data, err := proto.Marshal(m)
	require.NoError(t, err)
	return data
}

func (l *large) host(i int) string { return fmt.Sprintf("host-%04d", i) }

// launch brings a group into the record, open, and into what its hosts say.
func (l *large) launch(t testing.TB, g uint64, said []*drummerpb.Hello, i int) {
	step := 1 + i/l.hosts%((l.hosts-1)/2) // every host gets as many, and leads as many
	at := []int{i % l.hosts, (i + step) % l.hosts, (i + 2*step) % l.hosts}
	first := 3*uint64(i) + 1
	l.apply(t, &fleetpb.Command{Op: &fleetpb.Command_Place{Place: &fleetpb.Place{Group: g, Generation: 1, HostIds: []string{l.host(at[0]), l.host(at[1]), l.host(at[2])}}}})
	l.apply(t, &fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: g, Replicas: []uint64{first, first + 1, first + 2}}}})
	l.apply(t, &fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: g, Generation: 3, State: fleetpb.GroupState_GROUP_STATE_OPENING}}})
	l.apply(t, &fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: g, Generation: 4, State: fleetpb.GroupState_GROUP_STATE_OPEN}}})
	l.apply(t, &fleetpb.Command{Op: &fleetpb.Command_Membership{Membership: &fleetpb.MembershipSeen{Group: g, ConfigChange: 3, Voters: []uint64{first, first + 1, first + 2}}}})
	for n, h := range at {
		r := &drummerpb.ReplicaReport{
			Group: g, Replica: first + uint64(n), Name: fmt.Sprintf("kv/%06d", i), State: drummerpb.ReplicaState_REPLICA_STATE_OK,
			LeaderReplica: first, Term: 2, ConfigChange: 3, Applied: 1000, Opened: true, Serving: n == 0, Version: 1,
		}
		if n == 0 { // who leads has read the membership
			r.Membership = &drummerpb.Membership{ConfigChange: 3, Voters: map[uint64]string{first: l.host(at[0]), first + 1: l.host(at[1]), first + 2: l.host(at[2])}}
		}
		said[h].Replicas = append(said[h].Replicas, r)
	}
}

func (l *large) apply(t testing.TB, c *fleetpb.Command) {
	results := make([]statemachines.Result, 1)
	l.m.Apply([]statemachines.Command{{Version: fleet.AppVersion, Data: encode(t, c)}}, results)
	require.Equal(t, uint64(fleetpb.Code_CODE_OK), results[0].Value, "%s: %s", c, results[0].Data)
}

func (l *large) step(e loop.Event) {
	for _, f := range l.c.Step(e, l.now) {
		switch f := f.(type) {
		case loop.Propose:
			l.proposals++
		case loop.Send:
			if f.Message.GetOrder() != nil {
				l.orders++
			}
		}
	}
}

func (l *large) pass() {
	begun := worked()
	l.step(loop.Pass{View: l.m.Freeze()})
	l.slowest = max(l.slowest, worked()-begun)
}

// hear decodes what a host said and hands it over, as the stream's server does.
func (l *large) hear(t testing.TB, host int, data []byte) {
	var m drummerpb.HostMessage
	require.NoError(t, proto.Unmarshal(data, &m))
	if m.GetHello() != nil {
		l.step(loop.Connected{Session: uint64(host + 1), Hello: m.GetHello()})
	} else {
		l.step(loop.Reported{Session: uint64(host + 1), Report: m.GetReport()})
	}
}

// live lets time pass: every host but those from a number on is heard each second.
func (l *large) live(d time.Duration, hosts int) {
	for end := l.now + d; l.now < end; {
		l.now += 500 * time.Millisecond
		if l.now%time.Second == 0 {
			for h := range hosts {
				l.step(loop.Beat{Session: uint64(h + 1), Age: 7})
			}
		}
		l.pass()
	}
}

// takeOver begins a leadership and hears every host.
func (l *large) takeOver(t testing.TB) {
	l.c = loop.New(loop.Options{Deployment: "d"})
	l.step(loop.Led{Term: 1})
	l.pass()
	for h, data := range l.hellos {
		l.hear(t, h, data)
	}
	l.pass()
}

// TestScale measures what docs/performance.md says of the supervisor. SCALE_GROUPS says of
// how many groups; each host has 300 replicas.
func TestScale(t *testing.T) {
	groups, asked := 500, os.Getenv("SCALE_GROUPS")
	if asked != "" {
		n, err := strconv.Atoi(asked)
		require.NoError(t, err)
		groups = n
	}
	l := newLarge(t, groups/100, groups)
	runtime.GC()
	took := func(what string, do func()) time.Duration {
		begun := worked()
		do()
		d := worked() - begun
		t.Logf("%-44s %8.1f ms", what, float64(d.Microseconds())/1000)
		return d
	}
	recovery := took("view recovered after a failover", func() { l.takeOver(t) })
	l.live(5*time.Second, l.hosts)
	updates := 3 * groups
	reports := took(fmt.Sprintf("%d replica updates, from bytes", updates), func() {
		for h, data := range l.reports {
			l.hear(t, h, data)
		}
	})
	l.slowest = 0
	l.pass()
	t.Logf("%-44s %8.0f /s", "replica updates", float64(updates)/reports.Seconds())
	t.Logf("%-44s %8.1f ms", "pass over a whole fleet, after a report", ms(l.slowest))
	require.Zero(t, l.proposals+l.orders, "a whole fleet is left alone")
	steady := took("a minute of a still fleet", func() { l.live(time.Minute, l.hosts) })
	require.Zero(t, l.proposals+l.orders, "a still fleet is left alone")
	l.slowest = 0
	l.live(40*time.Second, l.hosts-1)
	t.Logf("%-44s %8.1f ms", "slowest pass after the loss of a host", ms(l.slowest))
	t.Logf("%-44s %8d", "replacements proposed", l.proposals)
	require.Greater(t, l.proposals, 150, "the groups that the dead host led wait for a leader")
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	l.hellos, l.reports = nil, nil
	t.Logf("%-44s %8.0f MB", "heap", float64(m.HeapAlloc)/1e6)
	if asked != "" {
		require.Less(t, l.slowest, 200*time.Millisecond)
		require.Less(t, recovery, 5*time.Second)
		require.Greater(t, float64(updates)/reports.Seconds(), 250_000.0)
		require.Less(t, m.HeapAlloc, uint64(2<<30))
		require.Less(t, steady, 30*time.Second)
	}
	runtime.KeepAlive(l)
}

// worked is the processor time of this process. The machine may be busy with other things.
func worked() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
