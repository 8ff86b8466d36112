package fleet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/smtest"
)

func TestConformance(t *testing.T) {
	smtest.Run(t, smtest.Suite{
		App:     fleet.App(),
		Command: func(r *rand.Rand) []byte { return encode(randomCommand(r)) },
		Query:   func(r *rand.Rand) []byte { return make([]byte, r.IntN(2)) },
		Golden:  "testdata/golden",
		Length:  400,
	})
}

func encode(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

// apply runs one command and decodes its result.
func apply(t testing.TB, m *fleet.Machine, data []byte) *fleetpb.Result {
	t.Helper()
	results := make([]statemachines.Result, 1)
	m.Apply([]statemachines.Command{{Version: fleet.AppVersion, Data: data}}, results)
	var r fleetpb.Result
	require.NoError(t, proto.Unmarshal(results[0].Data, &r))
	require.Equal(t, uint64(r.GetCode()), results[0].Value)
	require.NotEqual(t, fleetpb.Code_CODE_UNSPECIFIED, r.GetCode())
	return &r
}

func snapshotOf(t testing.TB, m *fleet.Machine) []byte {
	t.Helper()
	var b bytes.Buffer
	v := m.Snapshot()
	defer v.Close()
	n, err := v.WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, int64(b.Len()), n)
	return b.Bytes()
}

func restored(t testing.TB, snap []byte) *fleet.Machine {
	t.Helper()
	m := fleet.New()
	require.NoError(t, m.Restore(bytes.NewReader(snap)))
	return m
}

func randomName(r *rand.Rand) string {
	return []string{"kv/a", "kv/b", "kv/c", "counter/d", "kv/", "nope", "kv/\x00", ""}[min(r.IntN(12), 7)%8]
}

// randomRegion is that of a group: most have none, and hardly one is wrong.
func randomRegion(r *rand.Rand) string {
	return []string{"east", "east", "west", "e#", ""}[min(r.IntN(24), 4)]
}

func randomSpec(r *rand.Rand) *fleetpb.Spec {
	s := &fleetpb.Spec{Name: randomName(r), Region: randomRegion(r), App: "kv", Replicas: []uint32{1, 3, 3, 3, 5, 2}[r.IntN(6)]}
	if r.IntN(4) == 0 {
		s.Regions = []*fleetpb.RegionCount{{Region: "east", Count: r.Uint32N(4)}, {Region: "west", Count: r.Uint32N(3)}}
	}
	return rules.Settle(s)
}

func randomHost(r *rand.Rand) *fleetpb.Host {
	n := r.IntN(6)
	return &fleetpb.Host{
		Id: fmt.Sprintf("id%d", n+6*(r.IntN(8)/7)), Name: fmt.Sprintf("h%d", n), Region: []string{"east", "west"}[n%2],
		Api: "a:1", Raft: "a:2", BootEpoch: r.Uint64N(4), Lost: r.IntN(20) == 0,
		Apps: []*fleetpb.App{{Name: "kv", Version: 1 + r.Uint32N(2)}},
	}
}

func randomIDs(r *rand.Rand, bound uint64) []uint64 {
	list := make([]uint64, r.IntN(5))
	for i := range list {
		list[i] = r.Uint64N(bound)
	}
	return list
}

// randomCommand reaches every operation, and is right often enough that groups get
// through their lives: numbers are small and generations collide.
func randomCommand(r *rand.Rand) *fleetpb.Command {
	c := &fleetpb.Command{AtUnixMs: r.Int64N(1000) - 10}
	group, generation := 1000+r.Uint64N(6), r.Uint64N(9)
	host := fmt.Sprintf("id%d", r.IntN(7))
	switch r.IntN(14) {
	case 13:
		return randomConfiguration(r)
	case 0:
		c.Op = &fleetpb.Command_SetPolicy{SetPolicy: &fleetpb.Policy{DownAfterMs: r.Int64N(20000), SuspectAfterMs: r.Int64N(9000)}}
	case 1:
		specs := make([]*fleetpb.Spec, r.IntN(4))
		for i := range specs {
			specs[i] = randomSpec(r)
		}
		c.Op = &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: specs}}
	case 2:
		c.Op = &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: randomName(r), Region: randomRegion(r), Force: r.IntN(3) == 0}}
	case 3, 4:
		c.Op = &fleetpb.Command_RegisterHost{RegisterHost: randomHost(r)}
	case 5:
		if r.IntN(4) == 0 {
			c.Op = &fleetpb.Command_HostLost{HostLost: &fleetpb.HostLost{HostId: host, Reason: "test"}}
		}
	case 6:
		hosts := make([]string, 0, 3)
		for _, n := range r.Perm(6)[:[]int{1, 3, 3, 3, 5}[r.IntN(5)]] {
			hosts = append(hosts, fmt.Sprintf("id%d", n))
		}
		c.Op = &fleetpb.Command_Place{Place: &fleetpb.Place{Group: group, Generation: generation % 2, HostIds: hosts}}
	case 7:
		if r.IntN(3) == 0 {
			c.Op = &fleetpb.Command_Abandon{Abandon: &fleetpb.Abandon{Group: group, Generation: generation, Reason: "test"}}
		}
	case 8:
		c.Op = &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: group, Replicas: randomIDs(r, 12)}}
	case 9:
		c.Op = &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: group, Generation: generation, State: fleetpb.GroupState(r.IntN(7))}}
	case 10:
		c.Op = &fleetpb.Command_AddReplica{AddReplica: &fleetpb.AddReplica{Group: group, Generation: generation, HostId: host, Replaces: r.Uint64N(8), Reason: "test"}}
	case 11:
		c.Op = &fleetpb.Command_Membership{Membership: &fleetpb.MembershipSeen{
			Group: group, ConfigChange: r.Uint64N(30), Voters: randomIDs(r, 12), Observers: randomIDs(r, 12), Removed: randomIDs(r, 12),
		}}
	case 12:
		c.Op = &fleetpb.Command_Purged{Purged: &fleetpb.Purged{Group: group, Replicas: randomIDs(r, 12)}}
	}
	return c
}

// randomConfiguration reaches what is said of apps; hardly any of it is wrong.
func randomConfiguration(r *rand.Rand) *fleetpb.Command {
	app := []string{"kv", "kv", "kv", "counter", "KV"}[r.IntN(5)]
	switch r.IntN(3) {
	case 0:
		c := &fleetpb.Configuration{App: app, Author: "me", MaxGroups: r.Uint32N(4), Source: []byte{byte(r.IntN(3))}}
		for range r.IntN(4) {
			c.Templates = append(c.Templates, &fleetpb.Template{
				Match: []string{"*", "a", "?", "b*", "[a"}[r.IntN(4)+r.IntN(20)/19], Replicas: []uint32{1, 3}[r.IntN(2)], AutoCreate: r.IntN(3) > 0, Options: []byte{byte(r.IntN(2))},
				Raft: []*fleetpb.RaftOptions{nil, nil, {SnapshotEntries: 1000}}[r.IntN(3)], EachRegion: [][]string{nil, nil, {"east"}, {"east", "west"}}[r.IntN(4)],
			})
		}
		return &fleetpb.Command{AtUnixMs: r.Int64N(1000), Op: &fleetpb.Command_ApplyConfiguration{ApplyConfiguration: &fleetpb.ApplyConfiguration{Configuration: c, Base: r.Uint64N(9) / 7}}}
	case 1:
		return &fleetpb.Command{AtUnixMs: r.Int64N(1000), Op: &fleetpb.Command_RollbackConfiguration{RollbackConfiguration: &fleetpb.RollbackConfiguration{App: app, Revision: r.Uint64N(9)}}}
	default:
		return &fleetpb.Command{AtUnixMs: r.Int64N(1000), Op: &fleetpb.Command_FirstUse{FirstUse: &fleetpb.FirstUse{Names: []string{randomName(r), app + "/b1"}, Region: randomRegion(r)}}}
	}
}

// directed makes a command that fits the record as it is, so that deep states are
// reached.
func directed(r *rand.Rand, v *fleet.View) *fleetpb.Command {
	groups := slices.Collect(v.Groups())
	switch n := r.IntN(6); {
	case len(groups) == 0 || n < 2:
		return randomCommand(r)
	case n == 2:
		return randomWish(r, v)
	}
	g := groups[r.IntN(len(groups))]
	var all, some []uint64
	for _, m := range g.GetReplicas() {
		all = append(all, m.GetId())
		if r.IntN(2) == 0 {
			some = append(some, m.GetId())
		}
	}
	switch r.IntN(6) {
	case 0:
		hosts := slices.Collect(v.Hosts())
		r.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
		p := &fleetpb.Place{Group: g.GetId(), Generation: g.GetGeneration()}
		for _, h := range hosts[:min(len(hosts), int(g.GetSpec().GetReplicas()))] {
			p.HostIds = append(p.HostIds, h.GetId())
		}
		return &fleetpb.Command{Op: &fleetpb.Command_Place{Place: p}}
	case 1:
		return &fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: g.GetId(), Replicas: all}}}
	case 2:
		return &fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: g.GetId(), Generation: g.GetGeneration(), State: g.GetState() + 1}}}
	case 3:
		return &fleetpb.Command{Op: &fleetpb.Command_AddReplica{AddReplica: &fleetpb.AddReplica{Group: g.GetId(), Generation: g.GetGeneration(), HostId: fmt.Sprintf("id%d", r.IntN(6))}}}
	case 4:
		m := &fleetpb.MembershipSeen{Group: g.GetId(), ConfigChange: g.GetConfigChange() + r.Uint64N(3)}
		for _, id := range all {
			switch r.IntN(5) {
			case 0:
				m.Removed = append(m.Removed, id)
			case 1:
				m.Observers = append(m.Observers, id)
			default:
				m.Voters = append(m.Voters, id)
			}
		}
		return &fleetpb.Command{Op: &fleetpb.Command_Membership{Membership: m}}
	default:
		return &fleetpb.Command{Op: &fleetpb.Command_Purged{Purged: &fleetpb.Purged{Group: g.GetId(), Replicas: some}}}
	}
}

// TestRandomLogs checks what must hold after every command of random logs.
func TestRandomLogs(t *testing.T) {
	var reached [8]int
	regional := 0
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 5))
		m := fleet.New()
		given := map[uint64]uint64{} // replica to group, for ever
		highest := uint64(0)
		for step := range 500 {
			before, frozen := snapshotOf(t, m), m.Freeze()
			c := directed(r, frozen)
			result := apply(t, m, encode(c))
			after := snapshotOf(t, m)
			if result.GetCode() != fleetpb.Code_CODE_OK && c.GetCreateGroups() == nil {
				require.Equal(t, before, after, "refused (%v), yet it changed the record: %v", result, c)
			}
			require.Equal(t, bytes.Equal(before, after), m.Freeze().Revision() == frozen.Revision(), "%v", c)
			named := map[string]int{}
			for g := range m.Freeze().Groups() {
				reached[g.GetState()]++
				if g.GetState() == fleetpb.GroupState_GROUP_STATE_OPEN && g.GetSpec().GetRegion() != "" {
					regional++
				}
				if g.GetState() != fleetpb.GroupState_GROUP_STATE_PURGING {
					named[g.GetSpec().GetApp()]++
				}
				require.Equal(t, g.GetState() != fleetpb.GroupState_GROUP_STATE_PURGING, m.Freeze().ByName(words.Full(g)).GetId() == g.GetId())
				if old := frozen.Group(1000); old != nil && g.GetId() == 1000 {
					require.GreaterOrEqual(t, g.GetGeneration(), old.GetGeneration())
				}
				hosts := map[string]bool{}
				for _, rep := range g.GetReplicas() {
					require.False(t, hosts[rep.GetHostId()], "two replicas on a host: %v", g)
					hosts[rep.GetHostId()] = true
					if at, known := given[rep.GetId()]; known {
						require.Equal(t, at, g.GetId(), "replica %d was of another group", rep.GetId())
					} else {
						require.Greater(t, rep.GetId(), highest, "numbers ascend")
					}
				}
				for _, rep := range g.GetReplicas() {
					given[rep.GetId()] = g.GetId()
					highest = max(highest, rep.GetId())
				}
			}
			require.Equal(t, named["kv"], m.Freeze().GroupsOf("kv"))
			if step%4 == 0 { // it costs more than all the rest
				require.Equal(t, after, snapshotOf(t, restored(t, after)))
			}
		}
	}
	for s := fleetpb.GroupState_GROUP_STATE_LAUNCHING; s <= fleetpb.GroupState_GROUP_STATE_PURGING; s++ {
		require.Greater(t, reached[s], 100, "the logs hardly reach %s", s)
	}
	require.Greater(t, regional, 100, "the logs hardly reach groups of regions")
}

func TestViewsAreFrozen(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	m := fleet.New()
	type kept struct {
		v    *fleet.View
		text string
	}
	describe := func(v *fleet.View) string {
		s := fmt.Sprint(v.Revision(), v.Policy())
		for h := range v.Hosts() {
			s += h.String()
		}
		for g := range v.Groups() {
			s += g.String()
		}
		for o := range v.Operations() {
			s += o.String()
		}
		for c := range v.Configurations() {
			s += fmt.Sprint(c, v.GroupsOf(c.GetApp()))
		}
		events, _ := v.Events(0, 1<<20)
		return s + fmt.Sprint(events)
	}
	var views []kept
	for range 300 {
		apply(t, m, encode(directed(r, m.Freeze())))
		views = append(views, kept{m.Freeze(), describe(m.Freeze())})
	}
	for _, k := range views {
		require.Equal(t, k.text, describe(k.v))
	}
	first := m.View()
	require.Same(t, first, m.View(), "an unchanged record is frozen once")
}

func TestHistoryIsBounded(t *testing.T) {
	m := fleet.New()
	for range 6000 {
		for _, c := range []*fleetpb.Command{
			{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: []*fleetpb.Spec{{Name: "kv/a", App: "kv", Replicas: 3}}}}},
			{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "kv/a"}}},
		} {
			require.Equal(t, fleetpb.Code_CODE_OK, apply(t, m, encode(c)).GetCode())
		}
	}
	v := m.Freeze()
	require.Len(t, slices.Collect(v.Operations()), 1000)
	events, more := v.Events(0, 1<<20)
	require.Len(t, events, 10_000)
	require.False(t, more)
	page, more := v.Events(events[10].GetSequence(), 5)
	require.True(t, more)
	require.Equal(t, events[11].GetSequence(), page[0].GetSequence())
	require.Len(t, page, 5)
}

func TestRecoveredBeginsAboveAllNumbers(t *testing.T) {
	m := fleet.New()
	old := apply(t, m, encode(create("kv/a"))).GetItems()[0].GetId()
	snap := snapshotOf(t, m)
	apply(t, m, encode(create("kv/b"))) // lost with the record
	m = restored(t, snap)
	m.Recovered(0)
	require.Equal(t, uint64(2), m.Freeze().Incarnation())
	next := apply(t, m, encode(create("kv/c"))).GetItems()[0].GetId()
	require.Greater(t, next, old+1<<31)
	m.Recovered(9)
	require.Equal(t, uint64(9), m.Freeze().Incarnation())
	require.NotEmpty(t, snapshotOf(t, restored(t, snapshotOf(t, m))))
}

func create(name string) *fleetpb.Command {
	return &fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{
		Specs: []*fleetpb.Spec{{Name: name, App: "kv", Replicas: 3}},
	}}}
}

// populated is a record with something in every corner.
func populated(t testing.TB) *fleet.Machine {
	r := rand.New(rand.NewPCG(1, 1))
	m := fleet.New()
	for range 400 {
		apply(t, m, encode(directed(r, m.Freeze())))
	}
	return m
}

func FuzzCommand(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 60 {
		f.Add(encode(randomCommand(r)))
	}
	snap := snapshotOf(f, populated(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := restored(t, snap)
		result := apply(t, m, data)
		after := snapshotOf(t, m)
		if c := result.GetCode(); c != fleetpb.Code_CODE_OK && len(result.GetItems()) == 0 {
			require.Equal(t, snap, after)
		}
		require.Equal(t, after, snapshotOf(t, restored(t, after)))
	})
}

// FuzzSnapshot mends the checksum of each input, or hardly any would be read.
func FuzzSnapshot(f *testing.F) {
	r := rand.New(rand.NewPCG(4, 4))
	m := fleet.New()
	for range 60 {
		apply(f, m, encode(directed(r, m.Freeze())))
	}
	f.Add(snapshotOf(f, m))
	f.Add(snapshotOf(f, fleet.New()))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n := len(data) - 4; n > 0 {
			sum := crc32.Checksum(data[:n], crc32.MakeTable(crc32.Castagnoli))
			data = binary.BigEndian.AppendUint32(bytes.Clone(data[:n]), sum)
		}
		m := fleet.New()
		if err := m.Restore(bytes.NewReader(data)); err != nil {
			return
		}
		again := snapshotOf(t, m)
		require.Equal(t, again, snapshotOf(t, restored(t, again)))
		r := rand.New(rand.NewPCG(6, 6))
		for range 30 {
			apply(t, m, encode(directed(r, m.Freeze())))
		}
		require.Equal(t, snapshotOf(t, m), snapshotOf(t, restored(t, snapshotOf(t, m))))
	})
}

func TestDamagedSnapshots(t *testing.T) {
	snap := snapshotOf(t, populated(t))
	for i := range snap {
		m := fleet.New()
		flipped := bytes.Clone(snap)
		flipped[i] ^= 1 << (i % 8)
		require.Error(t, m.Restore(bytes.NewReader(flipped)), "bit flipped in byte %d", i)
		if i%37 == 0 {
			require.Error(t, fleet.New().Restore(bytes.NewReader(snap[:i])), "cut to %d bytes", i)
		}
	}
	require.Error(t, fleet.New().Restore(bytes.NewReader(append(bytes.Clone(snap), 0))))
}

// TestEveryVersionLeavesAPair: what a version of the record wrote is kept, so that later ones
// are seen to read it. v1 and v2 are the two forms of the tape, both of behaviour version 1.
func TestEveryVersionLeavesAPair(t *testing.T) {
	for version := 1; version <= fleet.AppVersion; version++ {
		require.FileExists(t, fmt.Sprintf("testdata/golden/v%d.snap", version), "write it while no later version is begun: SMTEST_GOLDEN=v%d go test -run TestConformance", version)
	}
}
