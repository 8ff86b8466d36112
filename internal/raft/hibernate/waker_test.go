package hibernate

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport"
)

// done is an act that a Waker did.
type done struct {
	act   Act
	group ids.Group
	after time.Duration
}

// stage is the host and the transport of a Waker.
type stage struct {
	news  chan struct{}
	begin time.Time

	mu       sync.Mutex
	groups   []Group
	signs    map[ids.Host]transport.Signs
	attended []ids.Host
	told     map[ids.Host][]raftpb.Message
	done     []done
}

func newStage(groups ...Group) *stage {
	return &stage{
		news: make(chan struct{}, 1), begin: time.Now(), groups: groups,
		signs: make(map[ids.Host]transport.Signs), told: make(map[ids.Host][]raftpb.Message),
	}
}

func (s *stage) Groups() []Group { return s.groups }

func (s *stage) Act(a Act, groups []ids.Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range groups {
		s.done = append(s.done, done{a, g, time.Since(s.begin)})
	}
}

func (s *stage) Heartbeat(time.Duration) <-chan struct{} { return s.news }

func (s *stage) Attend(hosts []ids.Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attended = hosts
}

func (s *stage) Signs(h ids.Host) transport.Signs {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.signs[h]
	if g.Connections > 0 {
		g.Heard = time.Now()
	}
	return g
}

func (s *stage) Tell(to ids.Host, ms []raftpb.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[to] = append(s.told[to], ms...)
}

// set changes a host's signs and tells.
func (s *stage) set(h ids.Host, g transport.Signs) {
	s.mu.Lock()
	s.signs[h] = g
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// took returns what was done since it was called last.
func (s *stage) took() []done {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.done
	s.done, s.begin = nil, time.Now()
	return d
}

func (s *stage) waker(t *testing.T) *Waker {
	w := New(Options{
		Self: "nh-1", Transport: s, Replicas: s, Tick: 100 * time.Millisecond, Election: time.Second, Log: slog.New(slog.DiscardHandler),
	})
	for _, g := range s.groups {
		w.Meet(g)
	}
	w.Start()
	t.Cleanup(w.Close)
	synctest.Wait()
	s.set("nh-2", transport.Signs{Process: 2, Connections: 2})
	s.set("nh-3", transport.Signs{Process: 3, Connections: 2})
	synctest.Wait()
	time.Sleep(5 * time.Second) // bubble
	s.took()
	return w
}

var gone = transport.Signs{Process: 3, Refused: true}

// The groups that a dead host led are woken within half an election timeout, those
// that others come first in one timeout later.
func TestADeathWakesItsGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var groups []Group
		for g := ids.Group(1); g <= 1000; g++ {
			groups = append(groups, three(g, 1, 3))
		}
		s := newStage(groups...)
		w := s.waker(t)
		require.Equal(t, []ids.Host{"nh-2", "nh-3"}, s.attended)
		require.True(t, w.Up("nh-1"))
		require.True(t, w.Up("nh-3"))

		s.set("nh-3", gone)
		time.Sleep(time.Second - time.Millisecond)
		first := s.took()
		require.InDelta(t, 500, len(first), 100)
		require.Less(t, first[len(first)-1].after, 600*time.Millisecond)
		require.Greater(t, first[len(first)-1].after, 400*time.Millisecond, "not all at once")
		require.False(t, w.Up("nh-3"))
		time.Sleep(time.Second)
		require.Len(t, s.took(), 1000-len(first))
	})
}

// What needs no election is done at once; what does not concern a group is not.
func TestAReturnStirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		elsewhere := Group{ID: 9, Self: 1, Leader: 1, Voters: map[ids.Replica]ids.Host{1: "nh-1", 2: "nh-2"}}
		s := newStage(three(7, 1, 1), three(8, 1, 3), elsewhere)
		s.waker(t)
		s.set("nh-3", transport.Signs{Process: 33, Connections: 1}) // another process: it died, and lives
		time.Sleep(100 * time.Millisecond)
		acts := make(map[Act][]ids.Group)
		for _, d := range s.took() {
			acts[d.act] = append(acts[d.act], d.group)
		}
		require.Contains(t, acts[Wake], ids.Group(7))
		require.NotContains(t, acts[Wake], ids.Group(9))
		require.Empty(t, acts[Stir], "the process that led is gone for sure")

		// This time it was only out of reach: its groups make sure of it.
		s.set("nh-3", transport.Signs{Process: 33, Heard: time.Now().Add(-time.Minute)})
		time.Sleep(5 * time.Second)
		s.took()
		s.set("nh-3", transport.Signs{Process: 33, Connections: 1})
		time.Sleep(100 * time.Millisecond)
		for _, d := range s.took() {
			acts[d.act] = append(acts[d.act], d.group)
		}
		require.Contains(t, acts[Stir], ids.Group(8))
		require.NotContains(t, acts[Stir], ids.Group(9))
	})
}

// A voter that knows no leader is found without any event.
func TestTheSweepFindsLeaderless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(three(7, 1, 0), three(8, 1, 2), three(9, 4, 0))
		w := s.waker(t)
		time.Sleep(10 * time.Second)
		got := s.took()
		require.NotEmpty(t, got)
		for _, d := range got {
			require.Equal(t, ids.Group(7), d.group)
			require.Equal(t, Wake, d.act)
		}
		require.Greater(t, w.Epoch(), uint32(5))
		require.Zero(t, (*Waker)(nil).Epoch())
	})
}

// Who starts asks who leads; who stops as a leader wakes its successor.
func TestAskingAndDeserting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		w := s.waker(t)
		w.Meet(three(7, 1, 0))
		synctest.Wait()
		require.Len(t, s.told["nh-2"], 1)
		require.Len(t, s.told["nh-3"], 1)
		require.True(t, ForLeader(&s.told["nh-2"][0]))

		time.Sleep(time.Second)
		clear(s.told)
		w.Desert(three(7, 1, 2))
		require.Empty(t, s.told, "another leads")
		w.Desert(three(7, 1, 1))
		require.Len(t, s.told, 1)
		for _, ms := range s.told {
			require.Equal(t, raftpb.TimeoutNow, ms[0].Type)
		}
		var none *Waker
		none.Start()
		none.Meet(three(7, 1, 1))
		none.Desert(three(7, 1, 1))
		none.Close()
	})
}

// Of a new group's first members one stands for election before its timeout.
func TestOneMemberOfANewGroupStandsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stood := 0
		for self := range ids.Replica(3) {
			s := newStage()
			w := s.waker(t)
			s.took()
			w.Born(three(7, self+1, 0))
			time.Sleep(150 * time.Millisecond)
			require.Empty(t, s.took(), "the others are given time to start")
			time.Sleep(500 * time.Millisecond)
			for _, d := range s.took() {
				require.Equal(t, Stand, d.act)
				require.EqualValues(t, 7, d.group)
				stood++
			}
		}
		require.Equal(t, 1, stood)
	})
	(*Waker)(nil).Born(three(7, 1, 0))
}
