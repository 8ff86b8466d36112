package loop_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
)

// whole is a loop that leads over hosts a, b and c, which run all groups well.
func whole(t testing.TB, groups int) *script {
	s := &script{t: &testing.T{}, m: fleet.New(), c: loop.New(loop.Options{Deployment: "d", Fleet: "f"})}
	s.do("lead", "1", nil)
	for i, h := range []string{"a", "b", "c"} {
		s.do("connect", "", []string{fmt.Sprint(i + 1), h})
	}
	s.do("settle", "", nil)
	for i := range groups {
		s.do("record", fmt.Sprintf(`create_groups { specs { name: "kv/%d" app: "kv" replicas: 3 } }`, i), nil)
		g := s.m.Freeze().ByName(fmt.Sprintf("kv/%d", i)).GetId()
		s.do("record", fmt.Sprintf(`place { group: %d generation: 1 host_ids: "a" host_ids: "b" host_ids: "c" }`, g), nil)
		at := 3 * uint64(i)
		s.do("record", fmt.Sprintf(`replicas_started { group: %d replicas: %d replicas: %d replicas: %d }`, g, at+1, at+2, at+3), nil)
		for _, state := range []string{"OPENING", "OPEN"} {
			s.do("record", fmt.Sprintf(`advance { group: %d generation: %d state: GROUP_STATE_%s }`, g, s.m.Freeze().Group(ids.Group(g)).GetGeneration(), state), nil)
		}
		for n := range 3 {
			r := &drummerpb.ReplicaReport{
				Group: g, Replica: at + uint64(n) + 1, State: drummerpb.ReplicaState_REPLICA_STATE_OK,
				LeaderReplica: at + uint64(i%3) + 1, Term: 1, Serving: n == i%3, Opened: true, Version: 1,
			}
			s.step(loop.Reported{Session: uint64(n + 1), Report: &drummerpb.Report{Changed: []*drummerpb.ReplicaReport{r}}})
		}
	}
	require.NotEmpty(t, s.out.String())
	s.out.Reset()
	return s
}

func (s *script) quiet(d time.Duration, beating ...string) {
	for end := s.now + d; s.now < end; {
		s.now += 500 * time.Millisecond
		s.do("beat", "", beating)
		s.do("pass", "", nil)
	}
}

// A loop that is still looks away from its groups, and sees everything all the same:
// silence, a report, a word of the record.
func TestAStillLoopMissesNothing(t *testing.T) {
	s := whole(t, 2)
	s.quiet(10*time.Second, "1", "2", "3")
	require.Empty(t, s.out.String())

	s.do("report", "", []string{"3", "3:down"})
	s.do("pass", "", nil)
	require.NotEmpty(t, s.c.Observed(s.now).Reasons, "a report")
	s.do("report", "", []string{"3", "3:opened+cc0"})
	s.quiet(2*time.Second, "1", "2", "3")
	require.Empty(t, s.c.Observed(s.now).Reasons)

	s.quiet(4*time.Second, "1", "2")
	require.NotEmpty(t, s.c.Observed(s.now).Reasons, "silence")
	s.quiet(2*time.Second, "1", "2", "3")
	require.Empty(t, s.c.Observed(s.now).Reasons)

	s.do("gone", "2", nil)
	s.do("pass", "", nil)
	require.NotEmpty(t, s.c.Observed(s.now).Reasons, "the end of a stream")
	s.do("connect", "", []string{"4", "b", "2:opened", "5:opened"})
	s.quiet(2*time.Second, "1", "3", "4")
	require.Empty(t, s.c.Observed(s.now).Reasons)

	s.out.Reset()
	s.do("record", `delete_group { name: "kv/0" }`, nil)
	s.do("pass", "", nil)
	require.Contains(t, s.out.String(), "seal", "the record")
}

// BenchmarkIdlePass is what 10,000 groups of which nothing is heard cost twice a second.
func BenchmarkIdlePass(b *testing.B) {
	s := whole(b, 10_000)
	v := s.m.Freeze()
	s.quiet(time.Second, "1", "2", "3")
	for b.Loop() {
		s.now += 500 * time.Millisecond
		for n := range uint64(3) {
			s.c.Step(loop.Beat{Session: n + 1}, s.now)
		}
		s.c.Step(loop.Pass{View: v}, s.now)
	}
}
