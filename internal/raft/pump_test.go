package raft

import (
	"testing"

	"github.com/lni/dragonboat/v3"
	"github.com/stretchr/testify/require"
)

// A Lead entry of a leadership that is over may have no verdict for an election's time:
// the next leadership begins without it.
func TestALostLeadHoldsNoOtherUp(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].crash()
	r := testReplica(t)
	r.host = c.nodes[0].Host // which takes no proposals any more
	p := newPump(testTick)
	lost := new(dragonboat.RequestState)
	r.lead, r.leadTerm = lost, 1
	p.proposeLead(r, 1)
	require.Same(t, lost, r.lead, "its own is waited for")
	p.proposeLead(r, 3)
	require.Nil(t, r.lead)
	require.Contains(t, p.watched, r, "and it goes on after a tick")
}
