package transport

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/drumline/drumline/internal/ids"
)

// Stats are counters since the start, and what holds now.
type Stats struct {
	// Inbound and Outbound are the connections established now.
	Inbound, Outbound int
	// Accepted and Dialed count the connections that ever were; one that grows without
	// hosts starting tells of a bad network.
	Accepted, Dialed uint64
	// BytesIn and BytesOut count frames with their headers.
	BytesIn, BytesOut uint64
	// BatchesIn were handed to Raft; BatchesOut were written to a connection.
	BatchesIn, BatchesOut uint64
	// BatchesDropped were not sent, because the peer was away or too slow.
	BatchesDropped uint64
	// BatchesRefused came in but were not handed on: before Ready, or not what
	// their peer may send.
	BatchesRefused uint64
	// ChunksIn and ChunksOut count snapshot chunks.
	ChunksIn, ChunksOut uint64
	// SnapshotsSent were taken by the receiver to the last chunk; SnapshotsFailed were not.
	SnapshotsSent, SnapshotsFailed uint64
	// BadFrames could not be decoded; each cost the peer its connection.
	BadFrames uint64
	// RefusedHandshakes counts refusals given here, by reason.
	RefusedHandshakes map[string]uint64
	// Peers are the hosts heard or called since the start.
	Peers map[ids.Host]PeerStats
}

// PeerStats are one peer's.
type PeerStats struct {
	// Connected tells whether messages to the peer have a connection now.
	Connected bool
	// Epoch is the highest boot epoch the peer has shown here.
	Epoch uint64
	// Heard is when the last frame of the peer came in, on any connection.
	Heard time.Time
}

// counters are the live side of Stats.
type counters struct {
	inbound, outbound                         atomic.Int64
	accepted, dialed                          atomic.Uint64
	bytesIn, bytesOut                         atomic.Uint64
	batchesIn, batchesOut                     atomic.Uint64
	batchesDropped, batchesRefused, badFrames atomic.Uint64
	chunksIn, chunksOut                       atomic.Uint64
	snapshotsSent, snapshotsFailed            atomic.Uint64

	mu      sync.Mutex
	refused map[string]uint64 // guarded by mu
}

func (c *counters) refuse(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = make(map[string]uint64)
	}
	c.refused[reason]++
}

func (c *counters) refusals() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.refused)
}

// Stats returns the counters.
func (t *Transport) Stats() Stats {
	c := &t.counters
	s := Stats{
		Inbound: int(c.inbound.Load()), Outbound: int(c.outbound.Load()),
		Accepted: c.accepted.Load(), Dialed: c.dialed.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		BatchesIn: c.batchesIn.Load(), BatchesOut: c.batchesOut.Load(),
		BatchesDropped: c.batchesDropped.Load(), BatchesRefused: c.batchesRefused.Load(),
		ChunksIn: c.chunksIn.Load(), ChunksOut: c.chunksOut.Load(),
		SnapshotsSent: c.snapshotsSent.Load(), SnapshotsFailed: c.snapshotsFailed.Load(),
		BadFrames: c.badFrames.Load(), RefusedHandshakes: c.refusals(), Peers: t.sessions.peers(),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for host, p := range t.peers {
		known := s.Peers[host]
		known.Connected = p.connected()
		s.Peers[host] = known
	}
	return s
}
