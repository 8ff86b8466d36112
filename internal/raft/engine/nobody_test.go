package engine

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/config"
	sm "github.com/lni/dragonboat/v3/statemachine"
	"github.com/stretchr/testify/require"
)

// onList tells whether nobody is on the list of a worker of the kind.
func onList(nh *dragonboat.NodeHost, kind string, worker int) (held bool) {
	list := reflect.ValueOf(nh).Elem().FieldByName("engine").Elem().FieldByName(kind).Elem().FieldByName("maps").Index(worker).Elem()
	locked(list.FieldByName("mu"), func() {
		_, held = open(list.FieldByName("ready")).Interface().(map[uint64]struct{})[nobody]
	})
	return held
}

// This breaks when dragonboat changes: nobody is on the lists of those that work, and what
// they have to do is done nevertheless.
func TestNobodyIsOnTheListsOfThoseThatWork(t *testing.T) {
	const group = 5
	nh, crowd := crowdedHost(t)
	for _, l := range []lists{crowd.step, crowd.apply} {
		require.NotEmpty(t, l)
	}
	create := func(group, _ uint64) sm.IConcurrentStateMachine { return crowd.Joins(group, member{}) }
	require.NoError(t, nh.StartConcurrentCluster(map[uint64]string{1: "alone"}, false, create, config.Config{
		ClusterID: group, NodeID: 1, ElectionRTT: 5, HeartbeatRTT: 1,
	}))
	// Each list is taken now and then, and nobody is on it again when there was something to do.
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := nh.SyncPropose(ctx, nh.GetNoOPSession(group), []byte("a"))
		return err == nil && onList(nh, "stepWorkReady", group%len(crowd.step)) && onList(nh, "applyWorkReady", group%len(crowd.apply))
	}, 20*time.Second, time.Millisecond)
}

// One of a thousand groups that are led works, without a disk or other hosts.
func BenchmarkOneOfAThousand(b *testing.B) {
	const groups = 1000
	nh, crowd := crowdedHost(b)
	crowd.Count(groups)
	create := func(group, _ uint64) sm.IConcurrentStateMachine { return crowd.Joins(group, member{}) }
	for g := uint64(1); g <= groups; g++ {
		require.NoError(b, nh.StartConcurrentCluster(map[uint64]string{1: "alone"}, false, create, config.Config{
			ClusterID: g, NodeID: 1, ElectionRTT: 5, HeartbeatRTT: 1,
		}))
	}
	for g := uint64(1); g <= groups; g++ {
		require.Eventually(b, func() bool {
			_, led, err := nh.GetLeaderID(g)
			return err == nil && led
		}, time.Minute, time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	session := nh.GetNoOPSession(1)
	for b.Loop() {
		_, err := nh.SyncPropose(ctx, session, []byte("sixteen bytes ok"))
		require.NoError(b, err)
	}
}

// A list that is of another kind than dragonboat's is not touched.
func TestListsAreCheckedBeforeUse(t *testing.T) {
	type readyCluster struct{}
	type ready struct{ maps []*readyCluster }
	type other struct{ maps []*int }
	engine := struct {
		good  *ready
		none  *ready
		empty *ready
		other *other
	}{good: &ready{maps: []*readyCluster{{}}}, empty: &ready{}, other: &other{maps: []*int{new(int)}}}
	v := reflect.ValueOf(&engine).Elem()
	found, err := listsOf(v, "good")
	require.NoError(t, err)
	require.Len(t, found, 1)
	for _, name := range []string{"none", "empty", "other", "missing"} {
		_, err := listsOf(v, name)
		require.ErrorContains(t, err, "this dragonboat's", name)
	}
}
