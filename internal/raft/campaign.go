package raft

import (
	"github.com/lni/dragonboat/v3/raftio"
	"github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/raft/hibernate"
)

// campaign makes a voter that knows no leader stand for election at once, awake or
// asleep; a leader and an observer are only woken. It may get lost, or the election
// may: the caller looks again. A follower of a living leader would depose it, because
// this vote is asked for as in a transfer of leadership, which voters do not refuse
// for having heard a leader lately.
func (h *Host) campaign(r *replica) { h.act(hibernate.Stand, r) }

// wake ends the sleep of replicas and does nothing else: a leader sends heartbeats
// from its next tick on; a voter that has heard no leader for an election timeout,
// asleep or not, stands for election then.
func (h *Host) wake(rs ...*replica) { h.act(hibernate.Wake, rs...) }

// act gives replicas a message that comes from no peer. It takes no lock of
// NodeHost's and never waits.
func (h *Host) act(a hibernate.Act, rs ...*replica) {
	batch := raftpb.MessageBatch{
		Requests:     make([]raftpb.Message, len(rs)),
		DeploymentId: deploymentID(h.opts.Deployment),
		BinVer:       raftio.TransportBinVersion,
	}
	for i, r := range rs {
		batch.Requests[i] = hibernate.Message(a, r.sleeper())
	}
	h.intake(batch)
}
