package transport

import (
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	pb "github.com/lni/dragonboat/v3/raftpb"
)

// What follows stands between the network and dragonboat, which panics on input
// that it does not expect, and its decoders do too.

const (
	// scanFrom is the size from which a batch is looked through before it is decoded:
	// dragonboat makes room for every message and entry that is announced, and tiny
	// ones would make gigabytes of a batch.
	scanFrom     = 64 << 10
	minMessage   = 48 // an empty pb.Message; its fields are always written
	minEntry     = 5  // an entry's term and index are never 0
	fieldMessage = 1  // of pb.MessageBatch
	fieldEntry   = 11 // of pb.Message

	// snapshotHeader is the least that dragonboat's validator wants to see of a
	// snapshot's first chunk.
	snapshotHeader = 1024
)

// decodeBatch decodes a batch and never panics.
func decodeBatch(payload []byte) (batch pb.MessageBatch, err error) {
	if len(payload) >= scanFrom && !plausible(payload) {
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

// plausible tells whether all messages and entries have at least the size that an
// honest one has.
func plausible(payload []byte) bool {
	return fields(payload, func(field uint64, message []byte) bool {
		if field != fieldMessage {
			return true
		}
		return len(message) >= minMessage && fields(message, func(inner uint64, entry []byte) bool {
			return inner != fieldEntry || len(entry) >= minEntry
		})
	})
}

// fields calls f with every field of bytes; it is false when f is, or when the
// encoding is wrong.
func fields(b []byte, f func(field uint64, value []byte) bool) bool {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return false
		}
		b = b[n:]
		value, n := binary.Uvarint(b)
		if n <= 0 {
			return false
		}
		b = b[n:]
		switch tag & 7 {
		case 0: // a number: its value is read
		case 2:
			if value > uint64(len(b)) || !f(tag>>3, b[:value]) {
				return false
			}
			b = b[value:]
		default: // raftpb has no other kind
			return false
		}
	}
	return true
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
