package transport

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/membook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for an event; on a busy machine it may be long.
const patience = time.Minute

const (
	deploymentText = "test"
	deploymentID   = 77
)

// node is a transport with handlers that keep what comes in.
type node struct {
	*Transport
	module  raftio.ITransport
	book    *membook.Book
	batches chan pb.MessageBatch
	chunks  chan pb.Chunk
	refuse  atomic.Bool // chunks
}

func options(host ids.Host) Options {
	return Options{Host: host, BootEpoch: 1, Deployment: deploymentText, Listen: "127.0.0.1:0", Book: membook.New()}
}

// start makes a node; it is Ready and closed with the test.
func start(t *testing.T, o Options) *node {
	t.Helper()
	n := create(t, o)
	n.Ready()
	return n
}

func create(t *testing.T, o Options) *node {
	t.Helper()
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("host", o.Host)
	}
	tr, err := New(o)
	require.NoError(t, err)
	n := &node{Transport: tr, batches: make(chan pb.MessageBatch, 10000), chunks: make(chan pb.Chunk, 10000)}
	n.book, _ = o.Book.(*membook.Book)
	n.module = tr.Factory().Create(config.NodeHostConfig{DeploymentID: deploymentID},
		func(b pb.MessageBatch) { n.batches <- b },
		func(c pb.Chunk) bool { n.chunks <- c; return !n.refuse.Load() })
	require.NoError(t, n.module.Start())
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// meet tells nodes each other's addresses.
func meet(nodes ...*node) {
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				_ = a.book.Learn(b.o.Host, b.Addr(), b.o.BootEpoch)
			}
		}
	}
}

func (n *node) connect(t *testing.T, to ids.Host) raftio.IConnection {
	t.Helper()
	c, err := n.module.GetConnection(t.Context(), string(to))
	require.NoError(t, err)
	return c
}

// batchOf is a batch that a host may send; the term numbers it.
func batchOf(from ids.Host, term uint64) pb.MessageBatch {
	return pb.MessageBatch{
		SourceAddress: string(from), DeploymentId: deploymentID, BinVer: raftio.TransportBinVersion,
		Requests: []pb.Message{{
			Type: pb.Replicate, To: 2, From: 1, ClusterId: 1000, Term: term,
			Entries: []pb.Entry{{Term: 1, Index: term, Cmd: []byte("command")}},
		}},
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came in")
		panic("unreachable")
	}
}

// until waits for a condition that no event tells.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 2*time.Millisecond, what)
}

// undisturbed repeats a try about times until the machine has not stood still
// meanwhile, which makes it show nothing.
func undisturbed(t *testing.T, try func() bool) {
	t.Helper()
	for range 10 {
		if try() {
			return
		}
	}
	require.FailNow(t, "it takes too long each time")
}

// swiftly repeats a try until it takes less than the bound.
func swiftly(t *testing.T, bound time.Duration, try func() time.Duration) {
	t.Helper()
	undisturbed(t, func() bool { return try() < bound })
}

// sendUntil sends numbered batches until one arrives, and returns its number.
func sendUntil(t *testing.T, from *node, c raftio.IConnection, to *node) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for term := uint64(1); ; term++ {
		require.NoError(t, c.SendMessageBatch(batchOf(from.o.Host, term)))
		select {
		case b := <-to.batches:
			return b.Requests[0].Term
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			require.FailNow(t, fmt.Sprintf("%s does not reach %s", from.o.Host, to.o.Host))
		}
	}
}

func snapshotChunks(n int, size int) []pb.Chunk {
	chunks := make([]pb.Chunk, n)
	for i := range chunks {
		chunks[i] = pb.Chunk{
			BinVer: raftio.TransportBinVersion, DeploymentId: deploymentID, ClusterId: 1000, NodeId: 2, From: 1,
			ChunkId: uint64(i), ChunkCount: uint64(n), FileChunkId: uint64(i), FileChunkCount: uint64(n),
			Filepath: "/snapshots/snapshot-1.gbsnap", Index: 10, Term: 3, Data: make([]byte, size),
		}
		chunks[i].Data[0] = byte(i)
	}
	return chunks
}
