package engine

import (
	"fmt"
	"log/slog"
	"sync"
	_ "unsafe" // for go:linkname

	_ "github.com/lni/dragonboat/v3" // the variables below are its
)

// dragonboat keeps its tuning in package variables that it fills, when the program
// starts, from files in whatever directory it was started in. Its documented way to
// change them is such a file; ours is to set the variables themselves, so that a
// host behaves the same from any directory. The links are checked before use: a
// dragonboat without such a variable would leave a zero here.

//go:linkname receiveQueueLen github.com/lni/dragonboat/v3.receiveQueueLen
var receiveQueueLen uint64

//go:linkname incomingProposalsMaxLen github.com/lni/dragonboat/v3.incomingProposalsMaxLen
var incomingProposalsMaxLen uint64

//go:linkname incomingReadIndexMaxLen github.com/lni/dragonboat/v3.incomingReadIndexMaxLen
var incomingReadIndexMaxLen uint64

//go:linkname pendingProposalShards github.com/lni/dragonboat/v3.pendingProposalShards
var pendingProposalShards uint64

//go:linkname entrySliceSize github.com/lni/dragonboat/v3/internal/raft.entrySliceSize
var entrySliceSize uint64

//go:linkname minEntrySliceSize github.com/lni/dragonboat/v3/internal/raft.minEntrySliceSize
var minEntrySliceSize uint64

//go:linkname streamConnections github.com/lni/dragonboat/v3.streamConnections
var streamConnections uint64

//go:linkname sendQueueLen github.com/lni/dragonboat/v3/internal/transport.sendQueueLen
var sendQueueLen uint64

//go:linkname lruMaxSessionCount github.com/lni/dragonboat/v3/internal/rsm.LRUMaxSessionCount
var lruMaxSessionCount uint64

//go:linkname logdbBatchSize github.com/lni/dragonboat/v3/internal/logdb.batchSize
var logdbBatchSize uint64

// The profile for many small groups. dragonboat allocates the queues of every
// replica in full, so that its defaults cost 1.1 MB of heap per replica and these
// 0.2 MB; shorter slices also spare a large allocation after nearly every commit.
const (
	// ReceiveQueue: messages to a replica that wait for its worker. Raft sends
	// again what does not fit.
	ReceiveQueue = 128
	// Proposals must hold all of a group that are in flight: coalesced entries,
	// session commands and the Lead entry.
	Proposals = 512
	// Reads: ReadIndex requests that wait for the group's worker. Readers of a
	// group share a few; the rest is for reads of memberships.
	Reads = 64
	// ProposalShards: one goroutine proposes for a group, so one shard does.
	ProposalShards = 1
	// Few entries of a group are in memory at a time, and a new slice is made nearly every
	// time that they have been applied.
	tunedEntrySlice    = 16
	tunedMinEntrySlice = 4
	// Streams: messages to a host go through one queue and one goroutine, which puts
	// what waits into one frame; more of them make more and smaller frames.
	Streams = 1
	// SendQueue: the heartbeats of all groups come at once.
	SendQueue = 8192
	// Values that are part of the data's format and must be dragonboat's own.
	Sessions      = 4096
	requiredBatch = 48
	// MaxSendQueue and MaxReceiveQueue bound the queues per connection and
	// per replica in bytes; Raft sends again what is dropped.
	MaxSendQueue    = 256 << 20
	MaxReceiveQueue = 64 << 20
)

type setting struct {
	name  string
	value *uint64
	tuned uint64
}

func settings() []setting {
	return []setting{
		{"receive_queue", &receiveQueueLen, ReceiveQueue},
		{"proposals", &incomingProposalsMaxLen, Proposals},
		{"reads", &incomingReadIndexMaxLen, Reads},
		{"proposal_shards", &pendingProposalShards, ProposalShards},
		{"entry_slice", &entrySliceSize, tunedEntrySlice},
		{"min_entry_slice", &minEntrySliceSize, tunedMinEntrySlice},
		{"streams", &streamConnections, Streams},
		{"send_queue", &sendQueueLen, SendQueue},
	}
}

// tuning remembers that the process is tuned: the variables are read without a
// lock by every host in it, so that they are written once, before the first.
var tuning struct {
	once sync.Once
	err  error
}

// Tune sets the profile, once per process, and logs it.
func Tune(log *slog.Logger) error {
	tuning.once.Do(func() { tuning.err = setProfile() })
	if tuning.err != nil {
		return tuning.err
	}
	attrs := []any{}
	for _, s := range settings() {
		attrs = append(attrs, slog.Uint64(s.name, *s.value))
	}
	log.Info("raft tuning in force", attrs...)
	return nil
}

func setProfile() error {
	if lruMaxSessionCount != Sessions || logdbBatchSize != requiredBatch {
		return fmt.Errorf("raft: dragonboat's hard settings are %d sessions and batches of %d, want %d and %d: is there a dragonboat-hard-settings.json in the working directory?",
			lruMaxSessionCount, logdbBatchSize, Sessions, requiredBatch)
	}
	for _, s := range settings() {
		if *s.value == 0 {
			return fmt.Errorf("raft: this dragonboat has no setting %s", s.name)
		}
		*s.value = s.tuned
	}
	return nil
}
