package agent

import (
	"fmt"
	"testing"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/nodehost/replicas"
)

// crowd is a keeper of many idle replicas.
type crowd struct {
	Replicas
	keys []replicas.Key
}

func (c *crowd) Keys() []replicas.Key { return append([]replicas.Key(nil), c.keys...) }

func (*crowd) Report(k replicas.Key) (*drummerpb.ReplicaReport, bool) {
	r := &drummerpb.ReplicaReport{
		Group: uint64(k.Group), Replica: uint64(k.Replica), Name: "kv/some-name", State: drummerpb.ReplicaState_REPLICA_STATE_OK,
		LeaderReplica: 1, Term: 2, Applied: 9, Opened: true, Version: 1,
	}
	if k.Group%3 == 0 {
		r.Serving, r.Membership = true, &drummerpb.Membership{ConfigChange: 3, Voters: map[uint64]string{1: "nh-aaaaaaaaaaaaaaaa", 2: "nh-bbbbbbbbbbbbbbbb", 3: "nh-cccccccccccccccc"}}
	}
	return r, true
}

// BenchmarkCompareIdle is what 10,000 idle replicas cost the agent each Options.Compare.
func BenchmarkCompareIdle(b *testing.B) {
	c := &crowd{}
	for i := range 10_000 {
		c.keys = append(c.keys, replicas.KeyOf(uint64(1000+i), uint64(i+1)))
	}
	s := &session{a: &Agent{o: Options{Replicas: c}}}
	s.ledger.open(nil)
	s.compareAll()
	for b.Loop() {
		if r := s.compareAll(); len(r.GetChanged())+len(r.GetGone()) > 0 {
			b.Fatal(fmt.Sprint(r))
		}
	}
}
