package raft

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/lni/goutils/vfs"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport"
	"github.com/drumline/drumline/statemachines"
)

// Options configure a Host.
type Options struct {
	// Host is this host's id: its name in every membership record.
	Host ids.Host
	// Deployment is the cluster's deployment text; hosts of another one are not heard.
	Deployment string
	// Dir holds dragonboat's data; WALDir, unless empty, its logs.
	Dir    string
	WALDir string
	// Transport carries Raft between hosts. The caller makes it, Close closes it.
	Transport *transport.Transport
	// Apps are the state machines that groups of this host may hold.
	Apps *statemachines.Registry
	// Tick is the unit of Raft's time and the bound of the shortest deadline (half
	// of it); 0 means 100 ms. ElectionTicks and HeartbeatTicks default to 10 and 1.
	Tick           time.Duration
	ElectionTicks  uint64
	HeartbeatTicks uint64
	// Hibernate: groups that are idle for ten election timeouts stop heart-beating, and
	// are woken by commands, reads, and hosts that go or come. All hosts must agree.
	Hibernate bool
	// UnloadAfter is for how long a replica must have had no call and no message before
	// it is unloaded; the next call, or message of a peer, loads it again. 0: never. At
	// least two election timeouts; only groups that hibernate are silent at all.
	UnloadAfter time.Duration
	// SnapshotEntries is the least number of entries between snapshots; 0 means 5000. The
	// log grows at least as large as the state before the next one (machine/pile.go).
	SnapshotEntries uint64
	// Memory keeps all data in memory, for tests; FS, also for tests, names the
	// file system, so that a host can be restarted on the same "disk".
	Memory bool
	FS     vfs.FS
	// Events is called from one goroutine of the Host, in order, and may take its
	// time; it must not call Close. May be nil.
	Events func(Event)
	// BeforeLoad is called, by several goroutines, before an unloaded replica is loaded, and
	// waited for; with an error it stays unloaded. May be nil.
	BeforeLoad func(context.Context, ids.Group, ids.Replica) error
	Log        *slog.Logger
}

// Defaults of Options.
const (
	defaultTick            = 100 * time.Millisecond
	defaultElectionTicks   = 10
	defaultHeartbeatTicks  = 1
	defaultSnapshotEntries = 5000
)

// withDefaults returns the options with every default filled in, or what is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.Tick == 0 {
		o.Tick = defaultTick
	}
	if o.ElectionTicks == 0 {
		o.ElectionTicks = defaultElectionTicks
	}
	if o.HeartbeatTicks == 0 {
		o.HeartbeatTicks = defaultHeartbeatTicks
	}
	if o.SnapshotEntries == 0 {
		o.SnapshotEntries = defaultSnapshotEntries
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Memory && o.FS == nil {
		o.FS = vfs.NewMem()
	}
	return o, o.check()
}

func (o Options) check() error {
	var problems []error
	if o.Host == "" {
		problems = append(problems, errors.New("raft: the host has no id"))
	}
	if o.Dir == "" {
		problems = append(problems, errors.New("raft: no data directory"))
	}
	if o.Transport == nil {
		problems = append(problems, errors.New("raft: no transport"))
	}
	if o.Apps == nil {
		problems = append(problems, errors.New("raft: no app registry"))
	}
	if o.Tick < time.Millisecond || o.Tick%time.Millisecond != 0 {
		problems = append(problems, fmt.Errorf("raft: tick %s: want whole milliseconds", o.Tick))
	}
	if least := 2 * o.electionTimeout(); o.UnloadAfter != 0 && o.UnloadAfter < least {
		problems = append(problems, fmt.Errorf("raft: unload after %s: want 0 or at least %s", o.UnloadAfter, least))
	}
	if o.UnloadAfter != 0 && !o.Hibernate {
		problems = append(problems, errors.New("raft: unloading needs hibernation: only groups that sleep are silent"))
	}
	// dragonboat panics on what it refuses, so it is checked here.
	if o.ElectionTicks <= 2*o.HeartbeatTicks {
		problems = append(problems, fmt.Errorf("raft: election of %d ticks must be more than twice the heartbeat of %d",
			o.ElectionTicks, o.HeartbeatTicks))
	}
	return errors.Join(problems...)
}

// electionTimeout is the longest time in which a follower starts an election.
func (o Options) electionTimeout() time.Duration {
	return 2 * time.Duration(o.ElectionTicks) * o.Tick
}

// deploymentID makes dragonboat's number of the deployment's text. 0 and 1 mean
// "unmanaged" there and are never given.
func deploymentID(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64() | 2
}
