package chaos

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	machine "github.com/drumline/drumline/statemachines/sequence"
)

// families is groups of sequences without Raft, with planted defects.
type families struct {
	sequencepb.SequenceClient // the calls that nobody makes
	mu                        sync.Mutex
	groups                    map[string]*machine.Machine
	calls                     int
	// lose loses each n-th answer; forget repeats what was handed out before, each n-th
	// time; stale answers descriptions from the past. 0 and false do nothing.
	lose, forget int
	stale        bool
	// keep says that a sequence was dropped, and keeps it; again tells of each incarnation
	// that it is the first.
	keep, again bool
	old         map[string]*sequencepb.DescribeResponse
}

func newFamilies() *families {
	return &families{groups: map[string]*machine.Machine{}, old: map[string]*sequencepb.DescribeResponse{}}
}

func (f *families) group(name string) *machine.Machine {
	if f.groups[name] == nil {
		f.groups[name] = machine.New(statemachines.Group{ID: 1})
	}
	return f.groups[name]
}

func (f *families) change(group string, cmd *sequencepb.Command) (*sequencepb.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, err
	}
	f.calls++
	out := make([]statemachines.Result, 1)
	f.group(group).Apply([]statemachines.Command{{Time: int64(f.calls), Version: 1, Data: data}}, out)
	r := &sequencepb.Result{}
	if err := proto.Unmarshal(out[0].Data, r); err != nil {
		return nil, err
	}
	if f.lose > 0 && f.calls%f.lose == 0 {
		return nil, errLost
	}
	if f.forget > 0 && f.calls%f.forget == 0 && r.GetGrant() != nil {
		r.Grant.First--
	}
	if f.again && r.GetGrant() != nil {
		r.Grant.Incarnation = 1
	}
	return r, nil
}

func (f *families) Open(_ context.Context, q *sequencepb.OpenRequest, _ ...grpc.CallOption) (*sequencepb.Result, error) {
	return f.change(q.GetGroup(), &sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: 1}}})
}

func (f *families) Next(_ context.Context, q *sequencepb.NextRequest, _ ...grpc.CallOption) (*sequencepb.Result, error) {
	return f.change(q.GetGroup(), &sequencepb.Command{Caller: q.GetCaller(), Op: &sequencepb.Command_Next{Next: q.GetNext()}})
}

func (f *families) GiveBack(_ context.Context, q *sequencepb.GiveBackRequest, _ ...grpc.CallOption) (*sequencepb.Result, error) {
	return f.change(q.GetGroup(), &sequencepb.Command{Caller: q.GetCaller(), Op: &sequencepb.Command_GiveBack{GiveBack: q.GetGiveBack()}})
}

func (f *families) Set(_ context.Context, q *sequencepb.SetRequest, _ ...grpc.CallOption) (*sequencepb.Result, error) {
	return f.change(q.GetGroup(), &sequencepb.Command{Caller: q.GetCaller(), Op: &sequencepb.Command_Set{Set: q.GetSet()}})
}

func (f *families) Restart(_ context.Context, q *sequencepb.RestartRequest, _ ...grpc.CallOption) (*sequencepb.Result, error) {
	return f.change(q.GetGroup(), &sequencepb.Command{Caller: q.GetCaller(), Op: &sequencepb.Command_Restart{Restart: q.GetRestart()}})
}

func (f *families) Create(_ context.Context, q *sequencepb.CreateRequest, _ ...grpc.CallOption) (*sequencepb.Result, error) {
	return f.change(q.GetGroup(), &sequencepb.Command{Caller: q.GetCaller(), Op: &sequencepb.Command_Create{Create: q.GetCreate()}})
}

func (f *families) Drop(_ context.Context, q *sequencepb.DropRequest, _ ...grpc.CallOption) (*sequencepb.Result, error) {
	if f.keep {
		return &sequencepb.Result{Outcome: sequencepb.Outcome_OUTCOME_OK}, nil
	}
	return f.change(q.GetGroup(), &sequencepb.Command{Caller: q.GetCaller(), Op: &sequencepb.Command_Drop{Drop: q.GetDrop()}})
}

func (f *families) Describe(_ context.Context, q *sequencepb.DescribeRequest, _ ...grpc.CallOption) (*sequencepb.DescribeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	query, err := proto.Marshal(&sequencepb.Query{Op: &sequencepb.Query_Describe{Describe: q.GetDescribe()}})
	if err != nil {
		return nil, err
	}
	data, err := f.group(q.GetGroup()).Query(query)
	if err != nil {
		return nil, err
	}
	a := &sequencepb.Answer{}
	if err := proto.Unmarshal(data, a); err != nil {
		return nil, err
	}
	now := &sequencepb.DescribeResponse{Found: a.GetFound()}
	if a.GetFound() {
		now.Info = a.GetSequences()[0]
	}
	at := q.GetGroup() + q.GetDescribe().GetKey()
	before := f.old[at]
	f.old[at] = now
	if f.stale && before != nil {
		return before, nil
	}
	return now, nil
}

// count lets clients work until there were enough calls.
func count(t *testing.T, f *families) (Report, error) {
	t.Helper()
	w := BeginSequences(t.Context(), f, Load{Groups: []string{"sequence/a", "sequence/b"}, Clients: 4, Pace: time.Millisecond, Run: "test"})
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.calls > 1500
	}, 30*time.Second, time.Millisecond)
	return w.Finish(t.Context())
}

func TestAnHonestSequencePasses(t *testing.T) {
	f := newFamilies()
	f.lose = 7 // each is asked for again
	r, err := count(t, f)
	require.NoError(t, err)
	require.Greater(t, r.Acknowledged, 500)
	require.GreaterOrEqual(t, r.Histories, 4)
}

func TestRangesThatOverlapAreFound(t *testing.T) {
	f := newFamilies()
	f.forget = 10
	_, err := count(t, f)
	require.ErrorContains(t, err, "is not linearizable")
}

func TestStaleDescriptionsAreFound(t *testing.T) {
	f := newFamilies()
	f.stale = true
	_, err := count(t, f)
	require.ErrorContains(t, err, "is not linearizable")
}

func TestWhatWasDroppedAndIsStillThereIsFound(t *testing.T) {
	f := newFamilies()
	f.keep = true
	_, err := count(t, f)
	require.ErrorContains(t, err, "is not linearizable")
}

func TestIncarnationsThatComeAgainAreFound(t *testing.T) {
	f := newFamilies()
	f.again = true
	_, err := count(t, f)
	require.ErrorContains(t, err, "is not linearizable")
}

// What one call may be answered, by the state that it meets, and what the state is then.
func TestOneCallOfASequence(t *testing.T) {
	there := counting{made: true, next: 10, of: 3, top: 3}
	for name, test := range map[string]struct {
		state counting
		q     request
		out   any
		fits  bool
		then  counting
	}{
		"first use":               {counting{}, request{verb: verbNext, count: 2}, reply{found: true, first: 1, count: 2, of: 5}, true, counting{true, 3, 5, 5}},
		"first use, not at one":   {counting{}, request{verb: verbNext, count: 2}, reply{found: true, first: 2, count: 2, of: 5}, false, counting{true, 3, 0, 0}},
		"nobody was told":         {counting{}, request{verb: verbNext, count: 2}, nil, true, counting{true, 3, 0, 0}},
		"of the one that is":      {there, request{verb: verbNext, count: 1, of: 3}, reply{found: true, first: 10, count: 1, of: 3}, true, counting{true, 11, 3, 3}},
		"of an older one":         {there, request{verb: verbNext, count: 1, of: 2}, reply{found: true, other: true}, true, there},
		"of an older one, given":  {there, request{verb: verbNext, count: 1, of: 2}, reply{found: true, first: 10, count: 1, of: 3}, false, there},
		"another incarnation":     {there, request{verb: verbNext, count: 1}, reply{found: true, first: 10, count: 1, of: 4}, false, counting{true, 11, 3, 3}},
		"dropped":                 {there, request{verb: verbDrop}, reply{found: true}, true, counting{false, 10, 3, 3}},
		"not there to drop":       {counting{top: 3}, request{verb: verbDrop}, reply{}, true, counting{top: 3}},
		"created":                 {counting{top: 3}, request{verb: verbCreate, first: 70}, reply{of: 4}, true, counting{true, 70, 4, 4}},
		"an incarnation again":    {counting{top: 3}, request{verb: verbCreate, first: 70}, reply{of: 3}, false, counting{true, 70, 0, 3}},
		"created twice":           {there, request{verb: verbCreate, first: 70}, reply{of: 4}, false, there},
		"there already":           {there, request{verb: verbCreate, first: 70}, reply{found: true}, true, there},
		"the tail comes back":     {there, request{verb: verbGiveBack, count: 2, behind: 10, of: 3}, reply{found: true, count: 2}, true, counting{true, 8, 3, 3}},
		"the tail of an old one":  {there, request{verb: verbGiveBack, count: 2, behind: 10, of: 2}, reply{}, true, there},
		"an old one's tail taken": {there, request{verb: verbGiveBack, count: 2, behind: 10, of: 2}, reply{found: true, count: 2}, false, there},
		"no tail":                 {there, request{verb: verbGiveBack, count: 2, behind: 9, of: 3}, reply{found: true}, true, there},
		"a jump":                  {there, request{verb: verbJump, first: 50}, reply{found: true}, true, counting{true, 50, 3, 3}},
		"a jump of what is not":   {counting{top: 3}, request{verb: verbJump, first: 50}, reply{found: true}, false, counting{top: 3}},
		"described":               {there, request{verb: verbDescribe}, reply{found: true, first: 10, of: 3}, true, there},
		"described as it was":     {there, request{verb: verbDescribe}, reply{found: true, first: 10, of: 2}, false, there},
	} {
		t.Run(name, func(t *testing.T) {
			fits, then := step(test.state, test.q, test.out)
			require.Equal(t, test.fits, fits)
			require.Equal(t, test.then, then)
		})
	}
}

func TestAHistoryThatIsNotJudgedHasFailed(t *testing.T) {
	p := &Part{Group: "sequence/a", Key: "k"}
	require.NoError(t, p.verdict(porcupine.Ok))
	require.ErrorContains(t, p.verdict(porcupine.Unknown), "could not be judged")
	require.ErrorContains(t, p.verdict(porcupine.Illegal), "is not linearizable")
}
