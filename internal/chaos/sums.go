package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// sumPause is that between two tries of an addition.
const sumPause = 20 * time.Millisecond

// BeginCounters starts clients of families of counters that one region counts. They add
// and subtract, each call under its key until there is an answer, and read with the token
// of what they were told last: an answer that knows less is a fault. The caller ends them
// with Finish.
func BeginCounters(ctx context.Context, service counterpb.CounterClient, l Load) *Workload {
	return begin(ctx, &sums{service: service, tokens: map[desk]*counterpb.Token{}}, l)
}

// addition is what a client asked of a counter: to add an amount, or, if it is 0, to read.
type addition struct{ amount int64 }

// total is the answer: the value, and whether the answer knows less than an earlier one.
type total struct {
	value int64
	older bool
}

// sums is counters, and the newest token of each client.
type sums struct {
	service counterpb.CounterClient
	keys    atomic.Uint64

	mu     sync.Mutex
	tokens map[desk]*counterpb.Token // guarded by mu
}

// model: the value is the sum of what was added, after each addition and at each read.
func (*sums) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int64(0) },
		Step: func(state, in, out any) (bool, any) {
			now := state.(int64) + in.(addition).amount
			t, told := out.(total)
			return !told || !t.older && t.value == now, now
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v: %+v", in, out) },
	}
}

func (s *sums) operate(ctx context.Context, p *Part, client, n int) operation {
	o := operation{changes: n%3 != 2, in: addition{}}
	var err error
	if o.changes {
		a := addition{rand.Int64N(10) + 1}
		if n%3 == 1 {
			a.amount = -a.amount
		}
		o.in = a
		if err = s.add(ctx, p, client, &o); err != nil {
			o.outcome = unknown
		}
		return o
	}
	if o.out, err = s.read(ctx, p, client); err != nil {
		o.outcome = notApplied
	}
	return o
}

// add sends an addition until there is an answer.
func (s *sums) add(ctx context.Context, p *Part, client int, o *operation) error {
	a := &counterpb.Add{Key: p.Key, Amount: o.in.(addition).amount, Once: &counterpb.Key{High: rand.Uint64(), Low: s.keys.Add(1)}}
	for {
		r, err := s.service.Add(ctx, &counterpb.AddRequest{Group: p.Group, Add: a})
		if err == nil && r.GetOutcome() == counterpb.Outcome_OUTCOME_OK {
			s.note(p, client, r.GetToken())
			o.out = total{value: r.GetValue()}
			return nil
		}
		if err == nil {
			return fmt.Errorf("it is not counted: %s", r.GetDetail())
		}
		pause := time.NewTimer(sumPause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-pause.C:
		}
	}
}

// read asks for the value, with the client's token.
func (s *sums) read(ctx context.Context, p *Part, client int) (total, error) {
	token := s.token(p, client)
	r, err := s.service.Get(ctx, &counterpb.GetRequest{Group: p.Group, Key: p.Key, Token: token})
	if err != nil {
		return total{}, err
	}
	older := r.GetToken().GetIncarnation() == token.GetIncarnation() && r.GetToken().GetVersion() < token.GetVersion()
	s.note(p, client, r.GetToken())
	return total{value: r.GetInfo().GetValue(), older: older}, nil
}

func (s *sums) token(p *Part, client int) *counterpb.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[desk{p.Group, client}]
}

// note keeps a token if it is the newest.
func (s *sums) note(p *Part, client int, t *counterpb.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := desk{p.Group, client}
	if old := s.tokens[at]; old.GetIncarnation() != t.GetIncarnation() || old.GetVersion() < t.GetVersion() {
		s.tokens[at] = t
	}
}

func (s *sums) last(ctx context.Context, p *Part) (operation, error) {
	r, err := s.service.Get(ctx, &counterpb.GetRequest{Group: p.Group, Key: p.Key})
	return operation{in: addition{}, out: total{value: r.GetInfo().GetValue()}}, err
}
