package intake

import (
	"testing"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAReplicaNeverMoves(t *testing.T) {
	var g Guard
	require.True(t, g.Knows(1, "nh-a"), "the first host heard is it")
	require.True(t, g.Knows(1, "nh-a"))
	require.False(t, g.Knows(1, "nh-b"))
	require.True(t, g.Knows(1, ""), "from this host itself")
	require.True(t, g.Knows(0, "nh-b"), "from nobody in particular")
	g.Learn(map[ids.Replica]ids.Host{1: "nh-b", 2: "nh-b"})
	require.True(t, g.Knows(1, "nh-a"))
	require.False(t, g.Knows(2, "nh-a"))
}

func TestShutWaitsForAChunk(t *testing.T) {
	var g Guard
	took := func() bool { return true }
	require.False(t, g.Chunk(took), "not before it is open")
	g.Open()
	require.True(t, g.Chunk(took))
	require.False(t, g.Chunk(func() bool { return false }))

	inside, finish, shut := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go g.Chunk(func() bool {
		close(inside)
		<-finish
		return true
	})
	<-inside
	go func() {
		g.Shut()
		close(shut)
	}()
	select {
	case <-shut:
		require.Fail(t, "a chunk is being written")
	default:
	}
	close(finish)
	<-shut
	require.False(t, g.Chunk(took))
}

func TestKeepKeepsInPlace(t *testing.T) {
	all := []pb.Message{{To: 1}, {To: 2}, {To: 3}, {To: 4}}
	kept := Keep(all, func(m *pb.Message) bool { return m.To%2 == 0 })
	require.Equal(t, []pb.Message{{To: 2}, {To: 4}}, kept)
	require.Equal(t, []pb.Message{{To: 2}, {To: 4}, {}, {}}, all, "what is gone holds no memory")
}
