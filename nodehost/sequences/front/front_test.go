package front_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/sequences/front"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	numbers = ids.Group(1000) // of app sequence
	other   = ids.Group(1001)
)

// shared is a group without Raft, that all hosts of a test have.
type shared struct {
	mu      sync.Mutex
	m       *sequence.Machine
	entries int // guarded by mu: commands that went into the log
	reads   int // guarded by mu
	leader  int // guarded by mu: the host that may propose and read
	fail    error
}

func newShared(t require.TestingT, d *sequencepb.Definition) *shared {
	s := &shared{m: sequence.New(statemachines.Group{ID: uint64(numbers), Name: "sequence/a"})}
	s.apply(t, &sequencepb.Command{Op: &sequencepb.Command_Create{Create: &sequencepb.Create{Definition: d}}})
	return s
}

func (s *shared) apply(t require.TestingT, c *sequencepb.Command) *sequencepb.Result {
	out := make([]statemachines.Result, 1)
	s.m.Apply([]statemachines.Command{{Data: pack(t, c)}}, out)
	return unpack(t, out[0].Data)
}

func pack(t require.TestingT, m proto.Message) []byte {
	data, err := proto.Marshal(m)
	require.NoError(t, err)
	return data
}

func unpack(t require.TestingT, data []byte) *sequencepb.Result {
	r := &sequencepb.Result{}
	require.NoError(t, proto.Unmarshal(data, r))
	return r
}

// host is one host's Raft.
type host struct {
	route.Raft
	*shared
	number int
}

func (h host) refuses() error {
	if h.fail != nil {
		return h.fail
	}
	if h.number != h.leader {
		return fault.New(fault.NotLeader, "host %d does not lead", h.number)
	}
	return nil
}

func (h host) Status(g ids.Group) (raft.Status, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := "sequence/a"
	if g == other {
		name = "kv/a"
	}
	return raft.Status{Group: g, Name: name, Serving: h.number == h.leader}, true
}

func (h host) ProposeMany(_ context.Context, _ ids.Group, cmds [][]byte) []raft.Outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]raft.Outcome, len(cmds))
	for i, cmd := range cmds {
		if out[i].Err = h.refuses(); out[i].Err == nil {
			h.entries++
			r := make([]statemachines.Result, 1)
			h.m.Apply([]statemachines.Command{{Data: cmd}}, r)
			out[i].Result = r[0]
		}
	}
	return out
}

func (h host) Propose(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	out := h.ProposeMany(ctx, g, [][]byte{cmd})
	return out[0].Result, out[0].Err
}

func (h host) ProposeOwn(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	return h.Propose(ctx, g, cmd)
}

func (h host) ProposeSession(ctx context.Context, s raft.Session, cmd []byte) (statemachines.Result, error) {
	return h.Propose(ctx, s.Group, cmd)
}

func (h host) Read(_ context.Context, _ ids.Group, query []byte) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads++
	if err := h.refuses(); err != nil {
		return nil, err
	}
	return h.m.Query(query)
}

func (s *shared) counts() (entries, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries, s.reads
}

func (s *shared) lead(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader = n
}

// clock is a host's clock in milliseconds.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

func newFront(t require.TestingT, s *shared, number int, c *clock) *front.Front {
	f := front.New(host{shared: s, number: number}, c.now)
	if tt, ok := t.(testing.TB); ok {
		tt.Cleanup(func() { require.NoError(tt, f.Close()) })
	}
	return f
}

func clockAt(ms int64) *clock {
	c := &clock{}
	c.ms.Store(ms)
	return c
}

func take(n *sequencepb.Next) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Next{Next: n}}
}

func ask(t require.TestingT, f *front.Front, n *sequencepb.Next) (*sequencepb.Result, error) {
	r, err := f.Propose(context.Background(), numbers, pack(t, take(n)))
	if err != nil {
		return nil, err
	}
	got := unpack(t, r.Data)
	require.Equal(t, uint64(got.GetGrant().GetFirst()), r.Value)
	return got, nil
}

var tso = &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 8}

func TestTimestampsCostNoEntries(t *testing.T) {
	s, c := newShared(t, tso), clockAt(1_700_000_000_000)
	f := newFront(t, s, 0, c)
	last := int64(-1)
	for range 5000 {
		r, err := ask(t, f, &sequencepb.Next{})
		require.NoError(t, err)
		require.Equal(t, sequencepb.Outcome_OUTCOME_OK, r.GetOutcome())
		require.Greater(t, r.GetGrant().GetFirst(), last)
		last = r.GetGrant().GetFirst()
	}
	entries, reads := s.counts()
	require.LessOrEqual(t, entries, 4, "the first command, a window, and one that goes on")
	require.GreaterOrEqual(t, reads, 4999, "each was confirmed")
	require.Less(t, last>>8-c.ms.Load(), int64(30), "5,000 in a millisecond take twenty")
	c.ms.Add(700)
	r, err := ask(t, f, &sequencepb.Next{Count: 3})
	require.NoError(t, err)
	require.EqualValues(t, 1_700_000_000_700<<8, r.GetGrant().GetFirst(), "they follow the clock")
	require.EqualValues(t, 3, r.GetGrant().GetCount())
	require.Equal(t, sequencepb.Mode_MODE_TSO, r.GetGrant().GetMode())
	require.EqualValues(t, numbers, r.GetGrant().GetGroup())
	c.ms.Add(-5000)
	r, err = ask(t, f, &sequencepb.Next{})
	require.NoError(t, err)
	require.EqualValues(t, 1_700_000_000_700<<8+3, r.GetGrant().GetFirst(), "and wait for no clock that goes back")
	c.ms.Add(100_000)
	r, err = ask(t, f, &sequencepb.Next{Count: 1000})
	require.NoError(t, err)
	require.EqualValues(t, 256, r.GetGrant().GetCount(), "a millisecond's at most")
}

// One question to the group is for all who wait.
func TestThoseWhoWaitShareAQuestion(t *testing.T) {
	s, c := newShared(t, tso), clockAt(1_700_000_000_000)
	f := newFront(t, s, 0, c)
	_, err := ask(t, f, &sequencepb.Next{})
	require.NoError(t, err)
	_, before := s.counts()
	cmds := slices.Repeat([][]byte{pack(t, take(&sequencepb.Next{Count: 2}))}, 500)
	seen := map[uint64]bool{}
	for _, o := range f.ProposeMany(t.Context(), numbers, cmds) {
		require.NoError(t, o.Err)
		require.False(t, seen[o.Result.Value])
		seen[o.Result.Value] = true
	}
	_, after := s.counts()
	require.Equal(t, before+1, after)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				_, err := ask(t, f, &sequencepb.Next{})
				require.NoError(t, err)
			}
		})
	}
	wg.Wait()
}

// What waits when the leadership moves is handed out by one of the two, in order.
func TestAHostThatWasDeposedHandsOutNothing(t *testing.T) {
	s, c := newShared(t, tso), clockAt(1_700_000_000_000)
	a, b := newFront(t, s, 0, c), newFront(t, s, 1, c)
	last := int64(0)
	next := func(f *front.Front) {
		r, err := ask(t, f, &sequencepb.Next{})
		require.NoError(t, err)
		require.Greater(t, r.GetGrant().GetFirst(), last)
		last = r.GetGrant().GetFirst()
	}
	next(a)
	s.lead(1)
	next(b)
	require.Greater(t, last>>8, c.ms.Load()+900, "beyond the window of the other")
	_, err := ask(t, a, &sequencepb.Next{})
	require.True(t, fault.Is(err, fault.NotLeader), err)
	s.lead(0)
	for range 300 {
		next(a)
	}
	require.Less(t, last>>8, c.ms.Load()+1300, "back and forth takes steps, not spans")
}

func TestWhatIsForTheMachineGoesThere(t *testing.T) {
	s, c := newShared(t, tso), clockAt(1_700_000_000_000)
	f := newFront(t, s, 0, c)
	r, err := ask(t, f, &sequencepb.Next{Key: "dense", Count: 7})
	require.NoError(t, err)
	require.EqualValues(t, 1, r.GetGrant().GetFirst())
	_, err = ask(t, f, &sequencepb.Next{})
	require.NoError(t, err)
	out := f.ProposeMany(t.Context(), numbers, [][]byte{
		pack(t, take(&sequencepb.Next{Key: "dense"})), pack(t, take(&sequencepb.Next{})), []byte("nonsense"), pack(t, take(&sequencepb.Next{Key: "dense"})),
	})
	require.EqualValues(t, 8, out[0].Result.Value)
	require.Greater(t, out[1].Result.Value, uint64(1_700_000_000_000<<8))
	require.Equal(t, sequencepb.Outcome_OUTCOME_INVALID, unpack(t, out[2].Result.Data).GetOutcome())
	require.EqualValues(t, 9, out[3].Result.Value)
	got, err := f.ProposeSession(t.Context(), raft.Session{Group: numbers}, pack(t, take(&sequencepb.Next{})))
	require.NoError(t, err)
	require.Equal(t, sequencepb.Outcome_OUTCOME_TIMESTAMPS, unpack(t, got.Data).GetOutcome())
}

func TestWhatTimestampsCannotBeAskedFor(t *testing.T) {
	s, c := newShared(t, &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 8, MaxRange: 5}), clockAt(1_700_000_000_000)
	f := newFront(t, s, 0, c)
	outcome := func(n *sequencepb.Next) sequencepb.Outcome {
		r, err := ask(t, f, n)
		require.NoError(t, err)
		return r.GetOutcome()
	}
	require.Equal(t, sequencepb.Outcome_OUTCOME_OK, outcome(&sequencepb.Next{Count: 5, Whole: true}))
	require.Equal(t, sequencepb.Outcome_OUTCOME_EXHAUSTED, outcome(&sequencepb.Next{Count: 6, Whole: true}))
	require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, outcome(&sequencepb.Next{Floor: proto.Int64(1)}))
	require.Equal(t, sequencepb.Outcome_OUTCOME_INCARNATION, outcome(&sequencepb.Next{Incarnation: 99}))
	s.apply(t, &sequencepb.Command{Op: &sequencepb.Command_Drop{Drop: &sequencepb.Drop{}}})
	s.apply(t, &sequencepb.Command{Op: &sequencepb.Command_Create{Create: &sequencepb.Create{}}})
	require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, outcome(&sequencepb.Next{}), "it was dropped under the front's nose")
	require.Eventually(t, func() bool { return outcome(&sequencepb.Next{}) == sequencepb.Outcome_OUTCOME_OK }, 10*time.Second, time.Millisecond)
}

// A time from the future gets into no log, whichever way it comes.
func TestTimesFromTheFuture(t *testing.T) {
	s, c := newShared(t, tso), clockAt(1_700_000_000_000)
	f := newFront(t, s, 0, c)
	late := uint64(c.ms.Load()) + 60_001
	stamped := take(&sequencepb.Next{Key: "x"})
	stamped.NowMs = late
	for name, cmd := range map[string]*sequencepb.Command{
		"a stamp":        stamped,
		"a worker's now": {Op: &sequencepb.Command_LeaseWorker{LeaseWorker: &sequencepb.LeaseWorker{NowMs: late}}},
	} {
		_, err := f.Propose(t.Context(), numbers, pack(t, cmd))
		require.Error(t, err, name)
		_, err = f.ProposeSession(t.Context(), raft.Session{Group: numbers}, pack(t, cmd))
		require.Error(t, err, name)
		require.Error(t, f.ProposeMany(t.Context(), numbers, [][]byte{pack(t, cmd)})[0].Err, name)
		before, _ := s.counts()
		_, err = f.Propose(t.Context(), other, pack(t, cmd))
		require.NoError(t, err, "groups of other apps are none of its business")
		after, _ := s.counts()
		require.Equal(t, before+1, after)
	}
	stamped.NowMs--
	_, err := f.Propose(t.Context(), numbers, pack(t, stamped))
	require.NoError(t, err)
}

// What comes without a time gets the host's, whichever way it comes: sequences of two
// clusters are told apart by when they were made.
func TestCommandsGetATime(t *testing.T) {
	s, c := newShared(t, tso), clockAt(1_700_000_000_000)
	f := newFront(t, s, 0, c)
	made := uint64(c.ms.Load()) << 20
	a, err := ask(t, f, &sequencepb.Next{Key: "a"})
	require.NoError(t, err)
	require.Equal(t, made, a.GetGrant().GetIncarnation())
	got, err := f.ProposeSession(t.Context(), raft.Session{Group: numbers}, pack(t, take(&sequencepb.Next{Key: "b"})))
	require.NoError(t, err)
	require.Equal(t, made+1, unpack(t, got.Data).GetGrant().GetIncarnation())
	out := f.ProposeMany(t.Context(), numbers, [][]byte{pack(t, take(&sequencepb.Next{Key: "c"})), pack(t, take(&sequencepb.Next{}))})
	require.Equal(t, made+2, unpack(t, out[0].Result.Data).GetGrant().GetIncarnation())

	own := take(&sequencepb.Next{Key: "d"})
	own.NowMs = uint64(c.ms.Load()) + 5
	d, err := f.Propose(t.Context(), numbers, pack(t, own))
	require.NoError(t, err)
	require.Equal(t, own.GetNowMs()<<20, unpack(t, d.Data).GetGrant().GetIncarnation())

	cut := append(pack(t, take(&sequencepb.Next{Key: "e"})), 0x0a, 9) // nine bytes of a caller would follow
	r, err := f.Propose(t.Context(), numbers, cut)
	require.NoError(t, err)
	require.Contains(t, unpack(t, r.Data).GetDetail(), "cannot be read", "what is cut off is not completed")
}

func TestTrouble(t *testing.T) {
	s, c := newShared(t, tso), clockAt(1_700_000_000_000)
	f := newFront(t, s, 0, c)
	first, err := ask(t, f, &sequencepb.Next{})
	require.NoError(t, err)
	s.mu.Lock()
	s.fail = fault.New(fault.UnknownOutcome, "nobody knows")
	s.mu.Unlock()
	c.ms.Add(10_000)
	_, err = ask(t, f, &sequencepb.Next{})
	require.Error(t, err)
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	again, err := ask(t, f, &sequencepb.Next{})
	require.NoError(t, err)
	require.Greater(t, again.GetGrant().GetFirst(), first.GetGrant().GetFirst())
	require.NoError(t, f.Close())
	_, err = ask(t, f, &sequencepb.Next{})
	require.True(t, fault.Is(err, fault.Unavailable), err)
}

// Hosts take the lead in turn, their clocks run apart and jump: what is handed out ascends
// all the same, over all hosts together.
func TestTimestampsAscendOverAllHosts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShared(t, &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 8})
		clocks, fronts := []*clock{}, []*front.Front{}
		for i := range 3 {
			clocks = append(clocks, clockAt(1_700_000_000_000))
			fronts = append(fronts, newFront(t, s, i, clocks[i]))
		}
		defer func() {
			for _, f := range fronts {
				require.NoError(t, f.Close())
			}
		}()
		last := int64(-1)
		host := rapid.IntRange(0, 2)
		t.Repeat(map[string]func(*rapid.T){
			"lead":  func(t *rapid.T) { s.lead(host.Draw(t, "leader")) },
			"clock": func(t *rapid.T) { clocks[host.Draw(t, "host")].ms.Add(rapid.Int64Range(-3000, 3000).Draw(t, "ms")) },
			"ask": func(t *rapid.T) {
				h := host.Draw(t, "host")
				r, err := ask(t, fronts[h], &sequencepb.Next{Count: rapid.Uint64Range(1, 300).Draw(t, "count")})
				if err != nil {
					require.NotEqual(t, s.leader, h, err)
					return
				}
				require.Equal(t, s.leader, h)
				require.Equal(t, sequencepb.Outcome_OUTCOME_OK, r.GetOutcome())
				require.Greater(t, r.GetGrant().GetFirst(), last)
				last = r.GetGrant().GetFirst() + int64(r.GetGrant().GetCount()) - 1
			},
		})
	})
}

func BenchmarkPassingThrough(b *testing.B) {
	s := newShared(b, nil)
	f := newFront(b, s, 0, clockAt(1_700_000_000_000))
	bare := host{shared: s}
	cmd := [][]byte{pack(b, &sequencepb.Command{
		Caller: &sequencepb.Caller{Client: &sequencepb.Client{Group: 1, Number: 9, Nonce: 1 << 60}, Serial: 5, Settled: 4},
		Op:     take(&sequencepb.Next{Key: "user/123", Count: 10}).GetOp(), NowMs: 1_700_000_000_000,
	})}
	for name, propose := range map[string]func(context.Context, ids.Group, [][]byte) []raft.Outcome{"front": f.ProposeMany, "bare": bare.ProposeMany} {
		b.Run(fmt.Sprint(name), func(b *testing.B) {
			for b.Loop() {
				propose(b.Context(), numbers, cmd)
			}
		})
	}
}
