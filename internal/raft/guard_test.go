package raft

import (
	"reflect"
	"testing"

	"github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/engine"
	"github.com/drumline/drumline/internal/raft/tempo"
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
	require.Equal(t, uint64(engine.Proposals), size("incomingProposals", "size"))
	require.Equal(t, uint64(engine.Reads), size("incomingReadIndexes", "size"))
	require.Equal(t, uint64(engine.ProposalShards), size("pendingProposals", "ps"))
	require.Equal(t, uint64(engine.ReceiveQueue), size("mq", "size"))
	require.Less(t, tempo.MaxInFlight+maxSessionsInFlight+1, engine.Proposals)
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
	vain := raftpb.Message{ClusterId: 1000, To: self, From: peer, Type: raftpb.RateLimit}
	require.Empty(t, n.acceptable(batch(c.nodes[1].id, vain)), "it would keep the group awake")
	vain.Hint = 1
	require.Len(t, n.acceptable(batch(c.nodes[1].id, vain)), 1)

	r, err := n.replica(1000)
	require.NoError(t, err)
	took := func() bool { return true }
	require.True(t, r.inbound.Chunk(took))
	r.inbound.Shut()
	require.False(t, r.inbound.Chunk(took), "a replica that is stopped takes no snapshot")
}
