package plausible

import (
	"testing"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBatch(t *testing.T) {
	honest := pb.MessageBatch{SourceAddress: "nh-a", DeploymentId: 7, BinVer: 210}
	for range 10 {
		honest.Requests = append(honest.Requests, pb.Message{Type: pb.Heartbeat, To: 1, From: 2, ClusterId: 3},
			pb.Message{Type: pb.Replicate, Entries: []pb.Entry{{Term: 1, Index: 1}, {Term: 1 << 60, Index: 1 << 60}}})
	}
	b, err := honest.Marshal()
	require.NoError(t, err)
	require.True(t, Batch(b))
	require.False(t, Batch([]byte{0x0a, 0}), "an empty message")
	tiny := pb.Message{Entries: make([]pb.Entry, 20)}
	m, err := (&pb.MessageBatch{Requests: []pb.Message{tiny}}).Marshal()
	require.NoError(t, err)
	require.False(t, Batch(m), "empty entries")
	require.False(t, Batch(b[:len(b)-1]), "cut")
}
