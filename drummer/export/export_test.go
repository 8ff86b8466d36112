package export_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// observed is a fleet of some hosts and groups, with everything in it that must not leave.
func observed(t require.TestingT, hosts, groups int) *loop.Observed {
	m := fleet.New()
	do := func(c *fleetpb.Command) {
		c.AtUnixMs = 7
		r := m.Execute(c)
		require.Equal(t, fleetpb.Code_CODE_OK, r.GetCode(), r.GetDetail())
	}
	o := &loop.Observed{UnixMs: 12345, Observed: planner.Observed{Hosts: map[ids.Host]*planner.Host{}, Groups: map[ids.Group]*planner.Group{}}}
	for i := range hosts {
		id := fmt.Sprintf("id-%02d", i)
		do(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
			Id: id, Name: fmt.Sprint("host-", i), Region: "west", Labels: []string{"disk=ssd"}, Api: "10.9.8.7:1", Raft: "10.9.8.7:2", Gossip: "10.9.8.7:3",
			BootEpoch: 2, Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
		}}})
		do(&fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: id, Wanted: &fleetpb.HostWanted{Weight: 200, Author: "somebody", Reason: "secret plans"}}}})
		o.Hosts[ids.Host(id)] = &planner.Host{Connected: true, Session: 1, Replicas: map[planner.Ref]*drummerpb.ReplicaReport{}}
	}
	for i := range groups {
		do(&fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: []*fleetpb.Spec{{Name: fmt.Sprint("kv/g", i), App: "kv", Replicas: 1}}}}})
		id := m.Freeze().ByName(fmt.Sprint("kv/g", i)).GetId()
		r := &drummerpb.ReplicaReport{Group: id, Replica: uint64(i) + 1, Name: fmt.Sprint("kv/g", i), Detail: "10.9.8.7 is full", State: drummerpb.ReplicaState_REPLICA_STATE_OK}
		o.Hosts["id-00"].Replicas[planner.Ref{Group: ids.Group(id), Replica: ids.Replica(i + 1)}] = r
		o.Groups[ids.Group(id)] = &planner.Group{Membership: &drummerpb.Membership{ConfigChange: 1, Voters: map[uint64]string{uint64(i) + 1: "id-00"}}}
	}
	o.View = m.Freeze()
	return o
}

func TestWhatIsExported(t *testing.T) {
	e, err := export.Take(observed(t, 3, 2))
	require.NoError(t, err)
	require.Equal(t, int64(12345), e.GetTakenUnixMs())
	require.Len(t, e.GetHosts(), 3)
	require.True(t, e.GetHosts()[0].GetUp())
	require.Len(t, e.GetHosts()[0].GetReplicas(), 2)
	require.Len(t, e.GetMemberships(), 2)
	data, err := export.Write(e)
	require.NoError(t, err)
	for _, secret := range []string{"10.9.8.7", "somebody", "secret", "registered"} {
		require.NotContains(t, string(data), secret)
	}
	f, err := export.Read(data)
	require.NoError(t, err)
	require.True(t, proto.Equal(e, f.FleetExport))
	v := f.Record().Freeze()
	require.Equal(t, 3, v.HostCount())
	require.Equal(t, []string{"disk=ssd"}, v.Host("id-01").GetLabels())
	require.EqualValues(t, 200, v.Host("id-01").GetWanted().GetWeight())
	require.NotNil(t, v.ByName("kv/g1"))
	require.Equal(t, observed(t, 3, 2).View.Revision(), v.Revision())
	f.Record().Execute(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "kv/g1"}}})
	require.Equal(t, fleetpb.GroupState_GROUP_STATE_LAUNCHING, f.Record().Freeze().ByName("kv/g1").GetState(), "each record is a new one")
}

// What was packed comes back, and nothing else is taken for a fleet.
func TestPacked(t *testing.T) {
	e, err := export.Take(observed(t, 4, 5))
	require.NoError(t, err)
	packed, err := export.Pack(e)
	require.NoError(t, err)
	back, err := export.Unpack(packed)
	require.NoError(t, err)
	require.True(t, proto.Equal(e, back))
	_, err = export.Unpack(packed[:len(packed)/2])
	require.Error(t, err)
	_, err = export.Unpack([]byte("nonsense"))
	require.Error(t, err)
}

func TestForeignFiles(t *testing.T) {
	e, err := export.Take(observed(t, 3, 2))
	require.NoError(t, err)
	good, err := export.Write(e)
	require.NoError(t, err)
	for name, c := range map[string]struct{ data, says string }{
		"empty":     {"", "no export of a fleet"},
		"text":      {"hello", "no export of a fleet"},
		"other":     {`{"groups": []}`, "no export of a fleet"},
		"newer":     {strings.Replace(string(good), "export/1", "export/2", 1), "this program reads drumline-fleet-export/1"},
		"cut":       {string(good[:len(good)/2]), "or is damaged"},
		"edited":    {strings.Replace(string(good), "kv/g0", "kv/g7", 1), "damaged or was edited"},
		"longer":    {string(good) + "{}", "something follows"},
		"no record": {`{"format":"drumline-fleet-export/1","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","fleet":{}}`, "no fleet that can be"},
	} {
		_, err := export.Read([]byte(c.data))
		require.ErrorContains(t, err, c.says, name)
	}
}

// A fleet that cannot be is refused, whoever computed its sum.
func TestImpossibleFleets(t *testing.T) {
	for name, spoil := range map[string]func(e *drummerpb.FleetExport){
		"unknown host":     func(e *drummerpb.FleetExport) { e.Hosts[0].Id = "nobody" },
		"host twice":       func(e *drummerpb.FleetExport) { e.Hosts[1] = e.Hosts[0] },
		"replicas mixed":   func(e *drummerpb.FleetExport) { r := e.Hosts[0].Replicas; r[0], r[1] = r[1], r[0] },
		"no voters":        func(e *drummerpb.FleetExport) { e.Memberships[0].Membership.Voters = nil },
		"no header":        func(e *drummerpb.FleetExport) { e.Records = e.Records[1:] },
		"group unnumbered": func(e *drummerpb.FleetExport) { e.Records[4].GetGroup().Id = 0 },
	} {
		e, err := export.Take(observed(t, 3, 2))
		require.NoError(t, err)
		spoil(e)
		_, err = export.Check(e)
		require.Error(t, err, name)
		data, err := export.Write(e)
		require.NoError(t, err)
		_, err = export.Read(data)
		require.Error(t, err, name)
	}
}

// Any damage of a file is noticed, or changes nothing that counts.
func TestDamage(t *testing.T) {
	e, err := export.Take(observed(t, 3, 2))
	require.NoError(t, err)
	good, err := export.Write(e)
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(good)
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 6).Draw(t, "bit")
		if f, err := export.Read(bad); err == nil {
			require.True(t, proto.Equal(e, f.FleetExport))
		}
	})
}
