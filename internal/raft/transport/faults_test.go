package transport

import (
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
)

func TestFaultsFollowFromTheSeed(t *testing.T) {
	play := func(seed uint64, interleave bool) (fates []Fate) {
		f := NewFaults(seed)
		f.Drop(0.3)
		f.Duplicate(0.3)
		f.Reorder(0.3, time.Second)
		for range 200 {
			fates = append(fates, f.Fate("a", "b", Batch))
			if interleave {
				f.Fate("b", "a", Batch)
				f.Fate("a", "b", Chunk)
			}
		}
		return fates
	}
	require.Equal(t, play(1, false), play(1, true), "other directions and kinds change nothing")
	require.NotEqual(t, play(1, false), play(2, false))
	var dropped, doubled, late int
	for _, f := range play(1, false) {
		if f.Drop {
			dropped++
		}
		doubled += f.Copies
		if f.Delay > 0 {
			late++
		}
	}
	require.InDelta(t, 60, dropped, 25)
	require.InDelta(t, 60, doubled, 25)
	require.InDelta(t, 60, late, 25)
}

func TestFaultsAreObeyed(t *testing.T) {
	faults := NewFaults(7)
	oa, ob := options("nh-a"), options("nh-b")
	oa.Hook, ob.Hook = faults, faults
	a, b := start(t, oa), start(t, ob)
	meet(a, b)
	ab, ba := a.connect(t, "nh-b"), b.connect(t, "nh-a")
	defer ab.Close()
	defer ba.Close()
	sendUntil(t, a, ab, b)
	sendUntil(t, b, ba, a)
	drain(a)
	drain(b)

	faults.Cut("nh-a", "nh-b")
	for n := range uint64(50) {
		require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 1000+n)))
	}
	sendUntil(t, b, ba, a) // the other direction goes on
	faults.Mend("nh-a", "nh-b")
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 2000)))
	require.Equal(t, uint64(2000), receive(t, b.batches).Requests[0].Term)

	faults.Duplicate(1)
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 2001)))
	first, second := receive(t, b.batches), receive(t, b.batches)
	require.Equal(t, first, second)
	faults.Heal()

	faults.Delay(100 * time.Millisecond)
	since := time.Now()
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 2002)))
	receive(t, b.batches)
	require.GreaterOrEqual(t, time.Since(since), 100*time.Millisecond)
	faults.Heal()

	faults.Reorder(0.5, 50*time.Millisecond)
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
	faults.Heal()

	faults.Drop(1)
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 3000)))
	faults.Heal()
	require.NoError(t, ab.SendMessageBatch(batchOf("nh-a", 3001)))
	require.Equal(t, uint64(3001), receive(t, b.batches).Requests[0].Term)
}

func drain(n *node) {
	for len(n.batches) > 0 {
		<-n.batches
	}
}

func TestACutHostIsNotHeardAndNotDialed(t *testing.T) {
	faults := NewFaults(7)
	oa, ob := options("nh-a"), options("nh-b")
	oa.Hook, ob.Hook = faults, faults
	oa.KeepAlive, ob.KeepAlive = 20*time.Millisecond, 20*time.Millisecond
	a, b := start(t, oa), start(t, ob)
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	sendUntil(t, a, c, b)
	faults.Cut("nh-a", "nh-b")
	until(t, "the connection dies", func() bool { return !a.Stats().Peers["nh-b"].Connected && b.Stats().Inbound == 0 })
	faults.Heal()
	sendUntil(t, a, c, b)
}

func TestFaultsOfChunks(t *testing.T) {
	for name, fault := range map[string]func(f *Faults){
		"drop":      func(f *Faults) { f.Drop(0.5) },
		"duplicate": func(f *Faults) { f.Duplicate(1) },
		"reorder":   func(f *Faults) { f.Reorder(1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			faults := NewFaults(3)
			o := options("nh-a")
			o.Hook = faults
			a, b := start(t, o), start(t, options("nh-b"))
			meet(a, b)
			fault(faults)
			require.Equal(t, uint64(1), sendSnapshot(t, a, "nh-b", snapshotChunks(5, snapshotHeader)).SnapshotsFailed)
			faults.Heal()
			faults.Delay(time.Millisecond)
			require.Equal(t, uint64(1), sendSnapshot(t, a, "nh-b", snapshotChunks(5, snapshotHeader)).SnapshotsSent)
			var last pb.Chunk
			for len(b.chunks) > 0 {
				last = <-b.chunks
			}
			require.Equal(t, uint64(4), last.ChunkId)
		})
	}
}
