package status_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/status"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// cluster is a record with the open group 1000 on hosts a, b and c (replicas 1, 2, 3),
// all up and reported, 1 leading.
type cluster struct {
	t *testing.T
	m *fleet.Machine
	o *loop.Observed
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, m: fleet.New(), o: &loop.Observed{Leading: true, Term: 7}}
	c.o.Hosts = map[ids.Host]*planner.Host{}
	c.o.Reasons = map[ids.Group][]string{1000: {"because"}}
	for _, h := range []string{"a", "b", "c", "d"} {
		c.apply(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
			Id: h, Name: "host-" + h, Api: "x:1", Raft: "x:2", BootEpoch: 1, Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
		}}})
		c.o.Hosts[ids.Host(h)] = &planner.Host{Connected: true, Version: "v1", Replicas: map[planner.Ref]*drummerpb.ReplicaReport{}}
	}
	c.apply(&fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: []*fleetpb.Spec{{Name: "kv/1", App: "kv", Replicas: 3}}}}})
	c.apply(&fleetpb.Command{Op: &fleetpb.Command_Place{Place: &fleetpb.Place{Group: 1000, Generation: 1, HostIds: []string{"a", "b", "c"}}}})
	c.apply(&fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: 1000, Replicas: []uint64{1, 2, 3}}}})
	for i, h := range []string{"a", "b", "c"} {
		c.report(h, &drummerpb.ReplicaReport{Replica: uint64(i + 1), State: drummerpb.ReplicaState_REPLICA_STATE_OK, LeaderReplica: 1, Term: 3, Applied: 9})
	}
	return c
}

func (c *cluster) apply(command *fleetpb.Command) {
	c.t.Helper()
	data, err := proto.Marshal(command)
	require.NoError(c.t, err)
	results := make([]statemachines.Result, 1)
	c.m.Apply([]statemachines.Command{{Version: fleet.AppVersion, Data: data}}, results)
	require.Equal(c.t, uint64(fleetpb.Code_CODE_OK), results[0].Value)
}

func (c *cluster) advance(to fleetpb.GroupState) {
	c.apply(&fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: 1000, Generation: c.m.Freeze().Group(1000).GetGeneration(), State: to}}})
}

func (c *cluster) open() {
	c.advance(fleetpb.GroupState_GROUP_STATE_OPENING)
	c.advance(fleetpb.GroupState_GROUP_STATE_OPEN)
}

func (c *cluster) report(host string, r *drummerpb.ReplicaReport) {
	r.Group = 1000
	c.o.Hosts[ids.Host(host)].Replicas[planner.Ref{Group: 1000, Replica: ids.Replica(r.GetReplica())}] = r
}

func (c *cluster) info() *drummerpb.GroupInfo { return status.GroupInfo(c.m.Freeze(), c.o, 1000) }

func (c *cluster) states() []drummerpb.ReplicaState {
	var list []drummerpb.ReplicaState
	for _, r := range c.info().GetReplicas() {
		list = append(list, r.GetState())
	}
	return list
}

const (
	ok       = drummerpb.ReplicaState_REPLICA_STATE_OK
	down     = drummerpb.ReplicaState_REPLICA_STATE_DOWN
	lost     = drummerpb.ReplicaState_REPLICA_STATE_LOST
	starting = drummerpb.ReplicaState_REPLICA_STATE_STARTING
	catching = drummerpb.ReplicaState_REPLICA_STATE_CATCHING_UP
	unloaded = drummerpb.ReplicaState_REPLICA_STATE_UNLOADED
	removing = drummerpb.ReplicaState_REPLICA_STATE_REMOVING
)

func TestLifeOfAGroup(t *testing.T) {
	c := newCluster(t)
	require.Equal(t, status.Launching, c.info().GetState())
	c.advance(fleetpb.GroupState_GROUP_STATE_OPENING)
	require.Equal(t, status.Launching, c.info().GetState())
	c.advance(fleetpb.GroupState_GROUP_STATE_OPEN)
	require.Equal(t, status.OK, c.info().GetState())
	require.Equal(t, []drummerpb.ReplicaState{ok, ok, ok}, c.states())
	require.True(t, c.info().GetReplicas()[0].GetLeader())
	require.Equal(t, "host-a", c.info().GetReplicas()[0].GetHost())
	c.apply(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "kv/1"}}})
	require.Equal(t, status.Deleting, c.info().GetState())
	require.Nil(t, status.GroupInfo(c.m.Freeze(), c.o, 1))
}

func TestTroubles(t *testing.T) {
	for name, tc := range map[string]struct {
		do     func(c *cluster)
		state  string
		states []drummerpb.ReplicaState
	}{
		"a follower's host is silent":   {func(c *cluster) { c.o.Hosts["c"].State = planner.Suspect }, status.Degraded, []drummerpb.ReplicaState{ok, ok, down}},
		"a follower's stream has ended": {func(c *cluster) { c.o.Hosts["c"].Connected = false }, status.Degraded, []drummerpb.ReplicaState{ok, ok, down}},
		"the leader's host is silent":   {func(c *cluster) { c.o.Hosts["a"].State = planner.Down }, status.Unavailable, []drummerpb.ReplicaState{down, ok, ok}},
		"a host was never heard":        {func(c *cluster) { delete(c.o.Hosts, "b") }, status.Degraded, []drummerpb.ReplicaState{ok, down, ok}},
		"a host is lost":                {func(c *cluster) { c.o.Hosts["b"].State = planner.Lost }, status.Degraded, []drummerpb.ReplicaState{ok, lost, ok}},
		"a host has lost a replica":     {func(c *cluster) { clear(c.o.Hosts["b"].Replicas) }, status.Degraded, []drummerpb.ReplicaState{ok, lost, ok}},
		"two hosts are silent":          {func(c *cluster) { c.o.Hosts["b"].State, c.o.Hosts["c"].State = planner.Down, planner.Down }, status.Unavailable, []drummerpb.ReplicaState{ok, down, down}},
		"a replica replays":             {func(c *cluster) { c.report("b", &drummerpb.ReplicaReport{Replica: 2, State: starting}) }, status.Degraded, []drummerpb.ReplicaState{ok, starting, ok}},
		"a replica is damaged":          {func(c *cluster) { c.report("b", &drummerpb.ReplicaReport{Replica: 2, State: down, Detail: "x"}) }, status.Degraded, []drummerpb.ReplicaState{ok, down, ok}},
		"a promotion is not applied":    {func(c *cluster) { c.report("b", &drummerpb.ReplicaReport{Replica: 2, State: ok, Observer: true}) }, status.Degraded, []drummerpb.ReplicaState{ok, catching, ok}},
		"nobody knows a leader":         {forget, status.Unavailable, []drummerpb.ReplicaState{ok, ok, ok}},
		"all are unloaded":              {func(c *cluster) { c.unload("a", "b", "c") }, status.OK, []drummerpb.ReplicaState{unloaded, unloaded, unloaded}},
		"the leader is unloaded":        {func(c *cluster) { c.unload("a") }, status.OK, []drummerpb.ReplicaState{unloaded, ok, ok}},
		"one of two is unloaded":        {func(c *cluster) { c.unload("a", "b"); c.o.Hosts["c"].State = planner.Down }, status.Degraded, []drummerpb.ReplicaState{unloaded, unloaded, down}},
		"the last is unloaded": {func(c *cluster) {
			c.unload("a")
			c.o.Hosts["b"].State, c.o.Hosts["c"].State = planner.Down, planner.Down
		}, status.Unavailable, []drummerpb.ReplicaState{unloaded, down, down}},
		"a removed one, and its observer": {replace, status.Degraded, []drummerpb.ReplicaState{ok, ok, removing, catching}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.open()
			tc.do(c)
			require.Equal(t, tc.state, c.info().GetState())
			require.Equal(t, tc.states, c.states())
			sum := status.Summary(c.m.Freeze(), c.o)
			require.Equal(t, map[string]uint32{tc.state: 1}, sum.GetGroups())
		})
	}
}

func (c *cluster) unload(hosts ...string) {
	for _, h := range hosts {
		c.report(h, &drummerpb.ReplicaReport{Replica: uint64(h[0]-'a') + 1, State: ok, Unloaded: true, Opened: true})
	}
}

func forget(c *cluster) {
	for i, h := range []string{"a", "b", "c"} {
		c.report(h, &drummerpb.ReplicaReport{Replica: uint64(i + 1), State: ok})
	}
}

func replace(c *cluster) {
	c.apply(&fleetpb.Command{Op: &fleetpb.Command_AddReplica{AddReplica: &fleetpb.AddReplica{Group: 1000, Generation: c.m.Freeze().Group(1000).GetGeneration(), HostId: "d", Replaces: 3}}})
	c.apply(&fleetpb.Command{Op: &fleetpb.Command_Membership{Membership: &fleetpb.MembershipSeen{Group: 1000, ConfigChange: 9, Voters: []uint64{1, 2}, Observers: []uint64{4}, Removed: []uint64{3}}}})
	c.report("d", &drummerpb.ReplicaReport{Replica: 4, State: ok, Observer: true})
}

func TestHostsAndExplain(t *testing.T) {
	c := newCluster(t)
	c.open()
	replace(c)
	c.o.Hosts["c"].State = planner.Down
	c.unload("b")
	c.o.Hosts["b"].Boot = &drummerpb.Boot{Total: 9, Done: 3}
	infos := status.HostInfos(c.m.Freeze(), c.o)
	require.Len(t, infos, 4)
	require.Equal(t, uint32(1), infos[1].GetUnloaded())
	require.Equal(t, uint32(3), infos[1].GetBoot().GetDone())
	require.Nil(t, infos[0].GetBoot())
	require.Equal(t, "host-a", infos[0].GetHost().GetName())
	require.Equal(t, uint32(1), infos[0].GetLeaders())
	require.Equal(t, "down", infos[2].GetState())
	require.Equal(t, uint32(1), infos[2].GetReplicas())
	e := status.Explain(c.m.Freeze(), c.o, c.m.Freeze().ByName("kv/1"))
	require.Equal(t, []string{"because"}, e.GetReasons())
	require.Equal(t, "replace", e.GetOperations()[0].GetKind())
	require.Equal(t, "launch", e.GetOperations()[1].GetKind())
	sum := status.Summary(c.m.Freeze(), c.o)
	require.Equal(t, map[string]uint32{"up": 3, "down": 1}, sum.GetHosts())
	require.Equal(t, uint32(1), sum.GetOperations())
	require.Equal(t, uint64(7), sum.GetTerm())
}
