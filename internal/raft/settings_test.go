package raft

import (
	"bytes"
	"log/slog"
	"reflect"
	"testing"

	"github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
)

// The links reach dragonboat's variables, and a replica's queues really have the
// tuned sizes.
func TestTuningIsEffective(t *testing.T) {
	c := newCluster(t, 1)
	l := c.launch(1000, 0)
	user, err := l.nh.GetNodeUser(1000)
	require.NoError(t, err)
	node := reflect.ValueOf(user).Elem().FieldByName("node").Elem()
	size := func(path ...string) uint64 {
		v := node
		for _, f := range path {
			v = v.FieldByName(f)
			if v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
		}
		return v.Uint()
	}
	require.Equal(t, uint64(tunedProposals), size("incomingProposals", "size"))
	require.Equal(t, uint64(tunedReads), size("incomingReadIndexes", "size"))
	require.Equal(t, uint64(tunedProposalShards), size("pendingProposals", "ps"))
	require.Equal(t, uint64(tunedReceiveQueue), size("mq", "size"))
	require.Equal(t, 4096, int(lruMaxSessionCount))
	require.Less(t, maxInFlight+maxSessionsInFlight+1, tunedProposals)
}

func TestTuningIsLogged(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, tune(slog.New(slog.NewTextHandler(&b, nil))))
	require.Contains(t, b.String(), "receive_queue=128")
	require.Contains(t, b.String(), "proposals=512")
}

func TestDragonboatsLogger(t *testing.T) {
	var b bytes.Buffer
	l := &packageLogger{log: slog.New(slog.NewTextHandler(&b, nil))}
	l.Infof("noise %d", 1)
	l.Warningf("noise %d", 2)
	l.Debugf("noise %d", 3)
	require.Empty(t, b.String())
	l.Errorf("trouble %d", 4)
	require.Contains(t, b.String(), "level=WARN msg=\"trouble 4\"")
	require.PanicsWithValue(t, "invariant violated: dragonboat: the end 5", func() { l.Panicf("the end %d", 5) })
}

// What would make dragonboat panic does not reach it.
func TestGuardDropsWhatKills(t *testing.T) {
	c := newCluster(t, 2)
	c.launch(1000, 0, 1)
	n := c.nodes[0]
	self, peer := uint64(replicaID(1000, 0)), uint64(replicaID(1000, 1))
	good := raftpb.Message{ClusterId: 1000, To: self, From: peer}
	batch := func(from ids.Host, ms ...raftpb.Message) raftpb.MessageBatch {
		return raftpb.MessageBatch{SourceAddress: string(from), Requests: ms}
	}
	require.Len(t, n.acceptable(batch(c.nodes[1].id, good)), 1)
	require.Empty(t, n.acceptable(batch("impostor", good)), "a replica does not move")
	require.Empty(t, n.acceptable(batch(c.nodes[1].id, raftpb.Message{ClusterId: 1000, From: peer})), "to nobody")
	require.Empty(t, n.acceptable(batch(c.nodes[1].id, raftpb.Message{ClusterId: 7, To: self, From: peer})), "of a group that is not here")
	require.Len(t, n.acceptable(batch(c.nodes[1].id, raftpb.Message{ClusterId: 1000, From: peer}, good)), 1)

	r, err := n.replica(1000)
	require.NoError(t, err)
	took := func() bool { return true }
	require.True(t, r.inbound.chunk(took))
	r.inbound.shut()
	require.False(t, r.inbound.chunk(took), "a replica that is stopped takes no snapshot")
}
