package chaos

import (
	"context"
	"sync"
	"testing"
	"time"

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
	old          map[string]*sequencepb.DescribeResponse
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
