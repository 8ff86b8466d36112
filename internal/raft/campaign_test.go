package raft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
)

// With an election timeout that nobody waits out, only a campaign gives the group its
// leader; a leader and an observer are not harmed by one.
func TestCampaignElects(t *testing.T) {
	c := newCluster(t, 3, calm)
	const g = 1000
	c.launchCalm(g, 0, 1, 2)
	r := c.replicaOn(0, g)
	require.Equal(t, uint64(1), c.propose(g, "a").Value)

	before, _ := c.nodes[0].Status(g)
	r.host.campaign(r)
	r.host.wake(r)
	require.Equal(t, "1", c.nodes[0].read(g, "a"))
	after, _ := c.nodes[0].Status(g)
	require.Equal(t, before.Term, after.Term, "a leader that is told to campaign stays")
}

// calm is for what no election may come in between of, however busy the machine is.
func calm(o *Options) { o.ElectionTicks = 100_000 }

// launchCalm launches a group of a calm cluster, led by the first of those nodes.
func (c *cluster) launchCalm(g ids.Group, on ...int) *node {
	c.t.Helper()
	c.start(g, on...)
	n, r := c.nodes[on[0]], c.replicaOn(on[0], g)
	require.Eventually(c.t, func() bool {
		// Launched members have applied their bootstrap entries before they may campaign.
		r.host.campaign(r)
		s, _ := n.Status(g)
		return s.Serving
	}, testTimeout, testTick)
	require.NoError(c.t, n.OpenGroup(c.ctx(), g, 1))
	return n
}

func (c *cluster) replicaOn(i int, g ids.Group) *replica {
	c.t.Helper()
	r, err := c.nodes[i].replica(g)
	require.NoError(c.t, err)
	return r
}
