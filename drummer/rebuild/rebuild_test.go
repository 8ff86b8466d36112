package rebuild_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/rebuild"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inventory is a host that attends incarnation 4 of a fleet.
func inventory(name string, replicas ...*statepb.InventoryReplica) *statepb.Inventory {
	return &statepb.Inventory{
		Host:  &fleetpb.Host{Id: "id-" + name, Name: name, Api: "x:1", Raft: "x:2", BootEpoch: 3, Age: 7, Apps: []*fleetpb.App{{Name: "kv", Version: 1}}},
		Fleet: "fleet", Incarnation: 4, Replicas: replicas,
	}
}

type option func(*statepb.InventoryReplica)

func sealed(r *statepb.InventoryReplica)  { r.Report.Sealed = true }
func serving(r *statepb.InventoryReplica) { r.Report.Serving = true }
func retired(r *statepb.InventoryReplica) {
	r.Report.State, r.Report.Membership = drummerpb.ReplicaState_REPLICA_STATE_RETIRED, nil
}

// replica is one of an open group whose first, second and third voter are on a, b and c; their
// numbers are those of nobody else.
func replica(group, nth uint64, name string, cc uint64, opts ...option) *statepb.InventoryReplica {
	first := 10 * (group - 1000)
	id := first + nth
	r := &statepb.InventoryReplica{Generation: 10 + id, Report: &drummerpb.ReplicaReport{
		Group: group, Replica: id, Name: name, State: drummerpb.ReplicaState_REPLICA_STATE_OK, Opened: true, ConfigChange: cc,
		Membership: &drummerpb.Membership{ConfigChange: cc, Voters: map[uint64]string{first + 1: "id-a", first + 2: "id-b", first + 3: "id-c"}},
	}}
	for _, o := range opts {
		o(r)
	}
	return r
}

func TestFromNothingButHosts(t *testing.T) {
	newer := replica(1000, 2, "kv/x", 9, serving)
	newer.Report.Membership.Voters = map[uint64]string{1: "id-a", 2: "id-b", 4: "id-d"}
	made, err := rebuild.Make(fleet.EmptyView(), []*statepb.Inventory{
		inventory("a", replica(1000, 1, "kv/x", 5)),
		inventory("b", newer),
		inventory("c", replica(1000, 3, "kv/x", 5)),
	})
	require.NoError(t, err)
	require.Equal(t, "fleet", made.Fleet)
	require.EqualValues(t, 5, made.Incarnation)
	v := made.Record.Freeze()
	g := v.ByName("kv/x")
	require.EqualValues(t, 1000, g.GetId())
	require.Equal(t, fleetpb.GroupState_GROUP_STATE_OPEN, g.GetState())
	require.EqualValues(t, 9, g.GetConfigChange())
	require.Greater(t, g.GetGeneration(), uint64(13), "hosts refuse older ones")
	require.EqualValues(t, 3, g.GetSpec().GetReplicas())
	voters := map[uint64]bool{}
	for _, r := range g.GetReplicas() {
		voters[r.GetId()] = r.GetVoter()
	}
	require.Equal(t, map[uint64]bool{1: true, 2: true, 3: false, 4: true}, voters, "the newest membership is the truth, and nobody is left out")
	require.NotNil(t, v.Host(ids.Host("id-d")), "known as a place of replicas")
	made.Record.Recovered(made.Incarnation)
	require.EqualValues(t, 5, made.Record.Freeze().Incarnation())
}

func TestHostsAreNewerThanTheBackup(t *testing.T) {
	old, err := rebuild.Make(fleet.EmptyView(), []*statepb.Inventory{
		inventory("a", replica(1000, 1, "kv/x", 5), replica(1001, 1, "kv/gone", 5)), inventory("b"), inventory("c"),
	})
	require.NoError(t, err)
	wiped := inventory("c")
	wiped.Host.Id = "id-c2"
	made, err := rebuild.Make(old.Record.Freeze(), []*statepb.Inventory{
		inventory("a", replica(1000, 1, "kv/x", 5), replica(1002, 1, "kv/new", 5)), inventory("b", replica(1003, 2, "kv/new", 1, sealed)), wiped,
	})
	require.NoError(t, err)
	v := made.Record.Freeze()
	require.True(t, v.Host("id-c").GetLost(), "its name has another directory")
	require.NotNil(t, v.ByName("kv/x"))
	require.Equal(t, fleetpb.GroupState_GROUP_STATE_RETIRED, v.Group(1002).GetState(), "one name, one group: the older is kept aside")
	require.EqualValues(t, 1003, v.Group(1002).GetHeir())
	require.Equal(t, fleetpb.GroupState_GROUP_STATE_SEALING, v.ByName("kv/new").GetState())
}

func TestWhatIsBannedStaysSo(t *testing.T) {
	made, err := rebuild.Make(fleet.EmptyView(), []*statepb.Inventory{inventory("a", replica(1000, 1, "kv/x", 5, retired), replica(1004, 1, "kv/x", 5))})
	require.NoError(t, err)
	v := made.Record.Freeze()
	require.Equal(t, fleetpb.GroupState_GROUP_STATE_RETIRED, v.Group(1000).GetState())
	require.EqualValues(t, 1004, v.ByName("kv/x").GetId())
}

func TestHostsOfTwoFleetsAreRefused(t *testing.T) {
	other := inventory("b")
	other.Fleet = "another"
	_, err := rebuild.Make(fleet.EmptyView(), []*statepb.Inventory{inventory("a"), other})
	require.ErrorContains(t, err, "host b is of fleet another, others are of fleet fleet")
}
