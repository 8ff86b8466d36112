package agent

import (
	"testing"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/nodehost/replicas"
)

func TestLedgerTellsOnlyNews(t *testing.T) {
	report := func(group, applied uint64, leader uint64) *drummerpb.ReplicaReport {
		return &drummerpb.ReplicaReport{Group: group, Replica: 1, Applied: applied, LeaderReplica: leader}
	}
	var l ledger
	l.open([]*drummerpb.ReplicaReport{report(1, 10, 1), report(2, 10, 1), report(3, 10, 1)})
	require.False(t, l.news(report(1, 10, 1), false))
	require.False(t, l.news(report(1, 11, 1), false), "an index that moved is no news")
	require.True(t, l.news(report(1, 11, 1), true), "but the comparison of everything sends it")
	require.False(t, l.news(report(1, 11, 1), true))
	require.True(t, l.news(report(1, 11, 2), false))
	require.True(t, l.news(report(4, 1, 1), false), "a replica that is new")
	require.Equal(t, []replicas.Key{replicas.KeyOf(2, 1), replicas.KeyOf(3, 1)},
		l.missing([]replicas.Key{replicas.KeyOf(1, 1), replicas.KeyOf(4, 1)}))
	require.Empty(t, l.missing([]replicas.Key{replicas.KeyOf(1, 1), replicas.KeyOf(4, 1)}), "told once")
	l.gone(replicas.KeyOf(1, 1))
	require.True(t, l.news(report(1, 11, 2), false), "one that comes again is new")
}
