package chaos

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
	machine "github.com/drumline/drumline/statemachines/counter"
)

// tills is a group of counters without Raft, with planted defects.
type tills struct {
	counterpb.CounterClient // the calls that nobody makes
	mu                      sync.Mutex
	group                   *machine.Machine
	calls                   int
	// lose loses each n-th answer, twice counts each n-th call twice; stale answers reads
	// from the past. 0 and false do nothing.
	lose, twice int
	stale       bool
	old         map[string]*counterpb.GetResponse
}

func (f *tills) Add(_ context.Context, req *counterpb.AddRequest, _ ...grpc.CallOption) (*counterpb.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	r, err := f.apply(req.GetAdd())
	if f.twice > 0 && f.calls%f.twice == 0 {
		_, err = f.apply(&counterpb.Add{Key: req.GetAdd().GetKey(), Amount: req.GetAdd().GetAmount()})
	}
	if f.lose > 0 && f.calls%f.lose == 0 {
		return nil, errLost
	}
	return r, err
}

func (f *tills) apply(a *counterpb.Add) (*counterpb.Result, error) {
	data, err := proto.Marshal(&counterpb.Command{Op: &counterpb.Command_Add{Add: a}})
	if err != nil {
		return nil, err
	}
	out := make([]statemachines.Result, 1)
	f.group.Apply([]statemachines.Command{{Time: int64(f.calls), Version: 1, Data: data}}, out)
	r := &counterpb.Result{}
	return r, proto.Unmarshal(out[0].Data, r)
}

func (f *tills) Get(_ context.Context, req *counterpb.GetRequest, _ ...grpc.CallOption) (*counterpb.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	query, err := proto.Marshal(&counterpb.Query{Op: &counterpb.Query_Get{Get: &counterpb.Get{Key: req.GetKey()}}})
	if err != nil {
		return nil, err
	}
	data, err := f.group.Query(query)
	if err != nil {
		return nil, err
	}
	a := &counterpb.Answer{}
	if err := proto.Unmarshal(data, a); err != nil {
		return nil, err
	}
	r := &counterpb.GetResponse{Token: &counterpb.Token{Incarnation: a.GetGroup().GetOrigin().GetIncarnation(), Version: a.GetGroup().GetVersion()}}
	if a.GetFound() {
		r.Info = a.GetCounters()[0]
	}
	if f.old[req.GetKey()] == nil {
		f.old[req.GetKey()] = r
	}
	if f.stale {
		r = f.old[req.GetKey()]
	}
	return r, nil
}

func (f *tills) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// TestCountersAreJudged: lost answers are no fault; what counts twice, and reads from the
// past, are found.
func TestCountersAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		f    *tills
		good bool
	}{
		"good":         {f: &tills{}, good: true},
		"lost answers": {f: &tills{lose: 3}, good: true},
		"twice":        {f: &tills{twice: 10}},
		"stale":        {f: &tills{stale: true}},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.f
			f.group, f.old = machine.New(statemachines.Group{ID: 1}), map[string]*counterpb.GetResponse{}
			w := BeginCounters(t.Context(), f, Load{Groups: []string{"counter/a"}, Clients: 4, Pace: time.Millisecond, Run: "test"})
			require.Eventually(t, func() bool { return f.count() >= 200 }, 30*time.Second, time.Millisecond)
			_, err := w.Finish(t.Context())
			if c.good {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "is not linearizable")
			}
		})
	}
}
