package transport

import (
	"bytes"
	"testing"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
)

func TestBatchesArriveWholeAndInOrder(t *testing.T) {
	a, b := start(t, options("nh-a")), start(t, options("nh-b"))
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	sendUntil(t, a, c, b)
	for len(b.batches) > 0 {
		<-b.batches
	}
	const count = 5000
	done := make(chan error, 1)
	go func() {
		batch := batchOf("nh-a", 0)
		for n := uint64(1000000); n < 1000000+count; n++ {
			batch.Requests[0].Term = n // the caller goes on with the same batch
			if err := c.SendMessageBatch(batch); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	next := uint64(1000000)
	for next < 1000000+count {
		got := receive(t, b.batches)
		if got.Requests[0].Term < 1000000 {
			continue // of sendUntil
		}
		want := batchOf("nh-a", next)
		want.Requests[0].Entries[0].Index = 0
		got.Requests[0].Entries[0].Index = 0
		require.Equal(t, want, got)
		next++
	}
	require.NoError(t, <-done)
}

func TestSnapshotsArriveAndAreConfirmed(t *testing.T) {
	a, b := start(t, options("nh-a")), start(t, options("nh-b"))
	meet(a, b)
	c, err := a.module.GetSnapshotConnection(t.Context(), "nh-b")
	require.NoError(t, err)
	chunks := snapshotChunks(4, 2<<20)
	for _, chunk := range chunks {
		require.NoError(t, c.SendChunk(chunk))
	}
	c.Close()
	for _, want := range chunks {
		got := receive(t, b.chunks)
		require.True(t, bytes.Equal(want.Data, got.Data))
		want.Data, got.Data = nil, nil
		require.Equal(t, want, withoutEmpty(got))
	}
	s := a.Stats()
	require.Equal(t, uint64(1), s.SnapshotsSent)
	require.Zero(t, s.SnapshotsFailed)
}

// withoutEmpty undoes what decoding makes of absent fields.
func withoutEmpty(c pb.Chunk) pb.Chunk {
	c.Membership, c.FileInfo = pb.Membership{}, pb.SnapshotFile{}
	return c
}
