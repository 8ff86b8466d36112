package agent

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/nodehost/replicas"
)

// ledger is what a supervisor was told in one session. Pure.
type ledger struct {
	sent map[replicas.Key]*drummerpb.ReplicaReport
}

// open begins a session with the reports of a hello.
func (l *ledger) open(reports []*drummerpb.ReplicaReport) {
	l.sent = make(map[replicas.Key]*drummerpb.ReplicaReport, len(reports))
	for _, r := range reports {
		l.sent[keyOf(r)] = r
	}
}

// news tells whether a report has to be sent, and takes it as sent. The applied
// index moves all the time: it alone is no news unless everything is compared.
func (l *ledger) news(r *drummerpb.ReplicaReport, everything bool) bool {
	k := keyOf(r)
	old := l.sent[k]
	if old != nil && (everything || old.GetApplied() == r.GetApplied()) && proto.Equal(old, r) {
		return false
	}
	if old != nil && !everything {
		masked := proto.CloneOf(r)
		masked.Applied = old.GetApplied()
		if proto.Equal(old, masked) {
			return false
		}
	}
	l.sent[k] = r
	return true
}

// missing lists, in order, what was reported and is not among keys any more, and
// forgets it.
func (l *ledger) missing(keys []replicas.Key) []replicas.Key {
	left := maps.Clone(l.sent)
	for _, k := range keys {
		delete(left, k)
	}
	gone := slices.Collect(maps.Keys(left))
	for _, k := range gone {
		delete(l.sent, k)
	}
	replicas.SortKeys(gone)
	return gone
}

// gone forgets a replica.
func (l *ledger) gone(k replicas.Key) { delete(l.sent, k) }

func keyOf(r *drummerpb.ReplicaReport) replicas.Key {
	return replicas.KeyOf(r.GetGroup(), r.GetReplica())
}

func refOf(k replicas.Key) *drummerpb.ReplicaRef {
	return &drummerpb.ReplicaRef{Group: uint64(k.Group), Replica: uint64(k.Replica)}
}
