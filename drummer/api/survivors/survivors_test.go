package survivors_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/api/survivors"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a record with the open group kv/1 (1000) on a, b and c, replicas 1, 2 and 3, all of
// whose hosts are up, and have applied 10, 20 and 30.
type world struct {
	*testing.T
	m     *fleet.Machine
	o     *loop.Observed
	looks survivors.Looks
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, m: fleet.New(), o: &loop.Observed{Leading: true}, looks: survivors.Looks{}}
	w.o.Hosts = map[ids.Host]*planner.Host{}
	for _, h := range []string{"a", "b", "c"} {
		w.apply(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
			Id: h, Name: "host-" + h, Api: "x:1", Raft: "x:2", BootEpoch: 1, Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
		}}})
		w.o.Hosts[ids.Host(h)] = &planner.Host{Connected: true, Replicas: map[planner.Ref]*drummerpb.ReplicaReport{}}
	}
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: []*fleetpb.Spec{{Name: "kv/1", App: "kv", Replicas: 3}}}}})
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_Place{Place: &fleetpb.Place{Group: 1000, Generation: 1, HostIds: []string{"a", "b", "c"}}}})
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: 1000, Replicas: []uint64{1, 2, 3}}}})
	w.advance(1000, fleetpb.GroupState_GROUP_STATE_OPENING)
	w.advance(1000, fleetpb.GroupState_GROUP_STATE_OPEN)
	for i, h := range []ids.Host{"a", "b", "c"} {
		n := uint64(i + 1)
		w.o.Hosts[h].Replicas[planner.Ref{Group: 1000, Replica: ids.Replica(n)}] = &drummerpb.ReplicaReport{
			Group: 1000, Replica: n, State: drummerpb.ReplicaState_REPLICA_STATE_OK, Opened: true,
		}
		w.looks[h] = map[uint64]*statepb.Look{1000: {Group: 1000, Replica: n, Applied: 10 * n, Opened: true}}
	}
	return w
}

func (w *world) apply(command *fleetpb.Command) {
	w.Helper()
	data, err := proto.Marshal(command)
	require.NoError(w, err)
	results := make([]statemachines.Result, 1)
	w.m.Apply([]statemachines.Command{{Data: data}}, results)
	require.Equal(w, uint64(fleetpb.Code_CODE_OK), results[0].Value, string(results[0].Data))
}

func (w *world) advance(g ids.Group, to fleetpb.GroupState) {
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: uint64(g), Generation: w.m.Freeze().Group(g).GetGeneration(), State: to}}})
}

// wipe makes a host lost; silence lets it not be heard for a while.
func (w *world) wipe(hosts ...ids.Host) {
	for _, h := range hosts {
		w.apply(&fleetpb.Command{Op: &fleetpb.Command_HostLost{HostLost: &fleetpb.HostLost{HostId: string(h)}}})
		*w.o.Hosts[h] = planner.Host{State: planner.Lost}
		delete(w.looks, h)
	}
}

func (w *world) silence(state planner.Liveness, hosts ...ids.Host) {
	for _, h := range hosts {
		w.o.Hosts[h].State, w.o.Hosts[h].Connected = state, false
		delete(w.looks, h)
	}
}

// knows lets the survivor on a host answer with a membership.
func (w *world) knows(h ids.Host, configChange uint64, voters ...uint64) {
	l := w.looks[h][1000]
	l.ConfigChange, l.Voters = configChange, map[uint64]string{}
	for _, v := range voters {
		l.Voters[v] = "x"
	}
}

func (w *world) judge(name string, wish survivors.Wish) *survivors.Case {
	k := survivors.Of(w.m.Freeze(), w.o, name)
	k.Judge(w.looks, wish)
	return k
}

func TestTheFurthestSurvivorIsTaken(t *testing.T) {
	w := newWorld(t)
	k := w.judge("kv/1", survivors.Wish{})
	require.Equal(t, fleetpb.Code_CODE_CONFLICT, k.Answer.GetCode(), "it has its quorum")
	require.Empty(t, survivors.Lost(w.m.Freeze(), w.o))

	w.wipe("a", "c")
	require.Equal(t, []string{"kv/1"}, survivors.Lost(w.m.Freeze(), w.o))
	k = w.judge("kv/1", survivors.Wish{OnlyDown: true})
	require.Equal(t, []ids.Host{"b"}, k.Hosts())
	require.Equal(t, fleetpb.Code_CODE_OK, k.Answer.GetCode(), k.Answer.GetDetail())
	require.False(t, k.Answer.GetUnheardQuorum(), "what is lost elects nobody")
	require.Equal(t, "its data is gone", k.Answer.GetSurvivors()[0].GetDetail())
	require.True(t, k.Answer.GetSurvivors()[1].GetFurthest())
	c := k.Command(77)
	require.EqualValues(t, 1000, c.GetReplaces())
	require.True(t, proto.Equal(&fleetpb.Origin{
		Kind: fleetpb.OriginKind_ORIGIN_KIND_RECOVER, Group: 1000, Margin: 77, Sources: []*fleetpb.Source{{Replica: 2, HostId: "b"}},
	}, c.GetOrigin()), "%v", c)
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: c}})

	k = w.judge("kv/1", survivors.Wish{})
	require.EqualValues(t, 1000, k.Answer.GetId(), "the new group never opened: the old one is recovered once more")
	require.EqualValues(t, 1001, k.Command(1).GetReplaces())
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "kv/1"}}})
	k = w.judge("kv/1", survivors.Wish{})
	require.EqualValues(t, 1000, k.Answer.GetId(), "and also when the new one was deleted")
	require.Zero(t, k.Command(1).GetReplaces())
}

// The last survivor goes down with its disk when a new group waits for its state: another one
// that comes back has it recovered once more, but not what the new group may have by now.
func TestARecoveryWhoseSourceIsLost(t *testing.T) {
	w := newWorld(t)
	w.wipe("c")
	w.silence(planner.Down, "b")
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: w.judge("kv/1", survivors.Wish{}).Command(0)}})
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_Place{Place: &fleetpb.Place{Group: 1001, Generation: 1, HostIds: []string{"b"}}}})
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: 1001, Replicas: []uint64{4}}}})
	w.advance(1001, fleetpb.GroupState_GROUP_STATE_OPENING)
	b := w.o.Hosts["b"]
	b.State, b.Connected = planner.Up, true
	own := &drummerpb.ReplicaReport{Group: 1001, Replica: 4, State: drummerpb.ReplicaState_REPLICA_STATE_OK}
	b.Replicas[planner.Ref{Group: 1001, Replica: 4}] = own
	w.looks["b"] = map[uint64]*statepb.Look{1000: {Group: 1000, Replica: 2, Applied: 20, Opened: true}}
	require.Equal(t, fleetpb.Code_CODE_CONFLICT, w.judge("kv/1", survivors.Wish{}).Answer.GetCode(), "its source is well")

	w.wipe("a")
	k := w.judge("kv/1", survivors.Wish{})
	require.Equal(t, fleetpb.Code_CODE_OK, k.Answer.GetCode(), k.Answer.GetDetail())
	require.EqualValues(t, 1000, k.Answer.GetId())
	c := k.Command(0)
	require.EqualValues(t, 1001, c.GetReplaces())
	require.Equal(t, "b", c.GetOrigin().GetSources()[0].GetHostId())
	own.Opened = true
	require.Equal(t, fleetpb.Code_CODE_CONFLICT, w.judge("kv/1", survivors.Wish{}).Answer.GetCode(), "it was loaded in time")
	own.Opened = false
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: c}})
}

func TestWhatSpeaksAgainstARecovery(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(w *world)
		group   string
		wish    survivors.Wish
		code    fleetpb.Code
		detail  string
		unheard bool
	}{
		"nobody of that name": {change: func(*world) {}, group: "kv/2", code: fleetpb.Code_CODE_NOT_FOUND, detail: "there is no group of that name, and none was banned"},
		"nothing survived": {
			change: func(w *world) { w.wipe("a", "b", "c") }, code: fleetpb.Code_CODE_NOT_FOUND, detail: "no replica of it has survived: restore it from a backup",
		},
		"those not heard may elect": {change: func(w *world) { w.silence(planner.Down, "b", "c") }, code: fleetpb.Code_CODE_OK, unheard: true},
		"those not heard are too few": {
			change: func(w *world) { w.silence(planner.Down, "b"); w.wipe("c") }, code: fleetpb.Code_CODE_OK,
		},
		"only silent, by name": {change: func(w *world) { w.silence(planner.Suspect, "b", "c") }, code: fleetpb.Code_CODE_OK, unheard: true},
		"only silent, all lost": {
			change: func(w *world) { w.silence(planner.Suspect, "b", "c") }, wish: survivors.Wish{OnlyDown: true}, unheard: true,
			code: fleetpb.Code_CODE_CONFLICT, detail: "host-b, host-c not down yet, only silent: wait, or recover the group by its name",
		},
		"another source": {
			change: func(w *world) { w.wipe("b", "c") }, wish: survivors.Wish{From: "host-b"}, code: fleetpb.Code_CODE_NOT_FOUND,
			detail: "no replica of it on host host-b can be used",
		},
		"a survivor that applied nothing": {
			change: func(w *world) { w.wipe("b", "c"); w.looks["a"][1000].Applied = 0 }, code: fleetpb.Code_CODE_NOT_FOUND,
			detail: "no replica of it has survived: restore it from a backup",
		},
		"a survivor that cannot run": {
			change: func(w *world) { w.wipe("b", "c"); delete(w.looks["a"], 1000) }, code: fleetpb.Code_CODE_NOT_FOUND, unheard: false,
			detail: "no replica of it has survived: restore it from a backup",
		},
		"a removed voter is up": {
			change: func(w *world) { w.wipe("a"); w.knows("b", 99, 1, 2) }, code: fleetpb.Code_CODE_OK,
		},
		"a removed voter is away": {
			change: func(w *world) { w.silence(planner.Down, "a"); w.knows("c", 99, 2, 3) }, code: fleetpb.Code_CODE_CONFLICT,
			detail: "a quorum of its voters is up: it is repaired by itself",
		},
		"an old membership tells nothing": {
			change: func(w *world) { w.wipe("a"); w.knows("b", 0, 1, 2) }, code: fleetpb.Code_CODE_CONFLICT,
			detail: "a quorum of its voters is up: it is repaired by itself",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			if c.group == "" {
				c.group = "kv/1"
			}
			k := w.judge(c.group, c.wish)
			require.Equal(t, c.code, k.Answer.GetCode(), k.Answer.GetDetail())
			require.Equal(t, c.detail, k.Answer.GetDetail())
			require.Equal(t, c.unheard, k.Answer.GetUnheardQuorum())
		})
	}
}
