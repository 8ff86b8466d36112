package transport

import (
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/raft/transport/faults"
)

func TestFaultsAreObeyed(t *testing.T) {
	bad := faults.New(7)
	oa, ob := options("nh-a"), options("nh-b")
	oa.Hook, ob.Hook = bad, bad
	a, b := start(t, oa), start(t, ob)
	meet(a, b)
	ab, ba := a.connect(t, "nh-b"), b.connect(t, "nh-a")
	defer ab.Close()
	defer ba.Close()
	sendUntil(t, a, ab, b)
	sendUntil(t, b, ba, a)
	drain(a)
	drain(b)

	bad.Cut("nh-a", "nh-b")
	for n := range uint64(50) {
		require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 1000+n)))
	}
	sendUntil(t, b, ba, a) // the other direction goes on
	bad.Mend("nh-a", "nh-b")
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 2000)))
	require.Equal(t, uint64(2000), receive(t, b.batches).Requests[0].Term)

	bad.Duplicate(1)
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 2001)))
	first, second := receive(t, b.batches), receive(t, b.batches)
	require.Equal(t, first, second)
	bad.Heal()

	bad.Delay(100 * time.Millisecond)
	since := time.Now()
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 2002)))
	receive(t, b.batches)
	require.GreaterOrEqual(t, time.Since(since), 100*time.Millisecond)
	bad.Heal()

	bad.Reorder(0.5, 50*time.Millisecond)
	const count = 100
	for n := range uint64(count) {
		require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", n)))
	}
	seen, swapped, last := map[uint64]bool{}, false, uint64(0)
	for range count {
		term := receive(t, b.batches).Requests[0].Term
		seen[term] = true
		swapped = swapped || term < last
		last = term
	}
	require.Len(t, seen, count, "none is lost")
	require.True(t, swapped)
	bad.Heal()

	bad.Drop(1)
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 3000)))
	bad.Heal()
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 3001)))
	require.Equal(t, uint64(3001), receive(t, b.batches).Requests[0].Term)
}

func drain(n *node) {
	for len(n.batches) > 0 {
		<-n.batches
	}
}

func TestACutHostIsNotHeardAndNotDialed(t *testing.T) {
	bad := faults.New(7)
	oa, ob := options("nh-a"), options("nh-b")
	oa.Hook, ob.Hook = bad, bad
	oa.KeepAlive, ob.KeepAlive = 20*time.Millisecond, 20*time.Millisecond
	a, b := start(t, oa), start(t, ob)
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	sendUntil(t, a, c, b)
	bad.Cut("nh-a", "nh-b")
	until(t, "the connection dies", func() bool { return !a.Stats().Peers["nh-b"].Connected && b.Stats().Inbound == 0 })
	bad.Heal()
	sendUntil(t, a, c, b)
}

func TestFaultsOfChunks(t *testing.T) {
	for name, fault := range map[string]func(f *faults.Network){
		"drop":      func(f *faults.Network) { f.Drop(0.5) },
		"duplicate": func(f *faults.Network) { f.Duplicate(1) },
		"reorder":   func(f *faults.Network) { f.Reorder(1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			bad := faults.New(3)
			o := options("nh-a")
			o.Hook = bad
			a, b := start(t, o), start(t, options("nh-b"))
			meet(a, b)
			fault(bad)
			require.Equal(t, uint64(1), sendSnapshot(t, a, "nh-b", snapshotChunks(5, snapshotHeader)).SnapshotsFailed)
			bad.Heal()
			bad.Delay(time.Millisecond)
			require.Equal(t, uint64(1), sendSnapshot(t, a, "nh-b", snapshotChunks(5, snapshotHeader)).SnapshotsSent)
			var last pb.Chunk
			for len(b.chunks) > 0 {
				last = <-b.chunks
			}
			require.Equal(t, uint64(4), last.ChunkId)
		})
	}
}
