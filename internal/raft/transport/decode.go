package transport

import (
	"fmt"
	"path"
	"strings"

	pb "github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/raft/transport/plausible"
)

// What follows stands between the network and dragonboat, which panics on input
// that it does not expect, and its decoders do too.

const (
	// scanFrom is the size from which a batch is looked through before it is decoded:
	// dragonboat makes room for every message and entry that is announced, and tiny
	// ones would make gigabytes of a batch.
	scanFrom = 64 << 10
	// snapshotHeader is the least that dragonboat's validator wants to see of a
	// snapshot's first chunk.
	snapshotHeader = 1024
)

// decodeBatch decodes a batch and never panics.
func decodeBatch(payload []byte) (batch pb.MessageBatch, err error) {
	if len(payload) >= scanFrom && !plausible.Batch(payload) {
		return batch, fmt.Errorf("%w: batch of empty messages", errBadFrame)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: batch: %v", errBadFrame, p)
		}
	}()
	if err = batch.Unmarshal(payload); err != nil {
		return batch, fmt.Errorf("%w: batch: %w", errBadFrame, err)
	}
	return batch, nil
}

// decodeChunk decodes a snapshot chunk and never panics.
func decodeChunk(payload []byte) (chunk pb.Chunk, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: chunk: %v", errBadFrame, p)
		}
	}()
	if err = chunk.Unmarshal(payload); err != nil {
		return chunk, fmt.Errorf("%w: chunk: %w", errBadFrame, err)
	}
	return chunk, nil
}

// travels tells whether a message may come from another host. All others are local
// to a host, and dragonboat panics when it gets one from outside; InstallSnapshot
// travels as chunks.
func travels(m *pb.Message) bool {
	if m.To == 0 || m.From == 0 || m.ClusterId == 0 {
		return false
	}
	switch m.Type {
	case pb.NoOP, pb.Ping, pb.Pong, pb.Propose, pb.Replicate, pb.ReplicateResp, pb.RequestVote,
		pb.RequestVoteResp, pb.Heartbeat, pb.HeartbeatResp, pb.ReadIndex, pb.ReadIndexResp, pb.Quiesce,
		pb.SnapshotReceived, pb.LeaderTransfer, pb.TimeoutNow, pb.RateLimit:
		return true
	default:
		return false
	}
}

// chunkOrder checks that the chunks of one stream are one snapshot in order: with
// any other dragonboat's receiver may fail on its files, which ends the process.
type chunkOrder struct {
	next, file uint64 // ids of the chunk expected, and of that in its file
	first      pb.Chunk
	path       string
	done       bool
}

// take tells what is wrong with the next chunk; nil takes it.
func (o *chunkOrder) take(c *pb.Chunk) error {
	base := path.Base(strings.ReplaceAll(c.Filepath, `\`, "/"))
	switch {
	case c.ClusterId == 0 || c.NodeId == 0 || c.From == 0 || c.IsPoisonChunk():
		return fmt.Errorf("%w: chunk of nothing", errBadFrame)
	case o.done || c.ChunkId != o.next:
		return fmt.Errorf("%w: chunk %d instead of %d", errBadFrame, c.ChunkId, o.next)
	case c.Filepath == "" || base == "." || base == ".." || base == "/":
		return fmt.Errorf("%w: chunk of file %q", errBadFrame, c.Filepath)
	case c.ChunkId == 0 && !c.HasFileInfo && len(c.Data) < snapshotHeader:
		return fmt.Errorf("%w: first chunk of %d bytes", errBadFrame, len(c.Data))
	case c.ChunkId > 0 && !o.same(c):
		return fmt.Errorf("%w: chunks of two snapshots", errBadFrame)
	case c.FileChunkId > 0 && (c.FileChunkId != o.file || base != o.path):
		return fmt.Errorf("%w: chunk %d of file %s out of order", errBadFrame, c.FileChunkId, base)
	}
	if c.ChunkId == 0 {
		o.first = *c
		o.first.Data = nil
	}
	o.next, o.file, o.path, o.done = c.ChunkId+1, c.FileChunkId+1, base, c.IsLastChunk()
	return nil
}

func (o *chunkOrder) same(c *pb.Chunk) bool {
	f := &o.first
	return c.ClusterId == f.ClusterId && c.NodeId == f.NodeId && c.From == f.From && c.Index == f.Index && c.Term == f.Term
}
