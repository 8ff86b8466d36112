package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/lab"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/simulate"
)

// Grant is one line of the output.
type Grant struct {
	Vector string  `json:"vector"`
	Step   int     `json:"step"`
	Time   float64 `json:"time"`
	Client string  `json:"client"`
	Wants  Number  `json:"wants"`
	// Grant is null when the request was refused.
	Grant    *float64 `json:"grant"`
	Refused  string   `json:"refused,omitempty"`
	Expiry   float64  `json:"expiry"`
	Refresh  float64  `json:"refresh_interval"`
	Safe     float64  `json:"safe_capacity"`
	Learning bool     `json:"learning"`
	// Expected is what the original granted.
	Expected Number `json:"expected"`
	// Verdict is match; clamped, max-min or refused where the original is wrong; or
	// differs.
	Verdict string `json:"verdict"`
}

// Verdicts.
const (
	match   = "match"
	clamped = "clamped"
	maxMin  = "max-min"
	refused = "refused"
	differs = "differs"
)

// Tally counts vectors.
type Tally struct {
	// Passed have no grant that differs; Differ have one.
	Passed, Differ int
}

// Run replays all vectors, writes every grant as a line of JSON, and counts, until ctx ends.
func Run(ctx context.Context, f *File, out io.Writer) (Tally, error) {
	var t Tally
	w := json.NewEncoder(out)
	for i := range f.Algorithms {
		if ctx.Err() != nil {
			return t, ctx.Err()
		}
		grants, err := f.Algorithms[i].run()
		if err != nil {
			return t, fmt.Errorf("vector %s: %w", f.Algorithms[i].ID, err)
		}
		if err := t.count(grants, w); err != nil {
			return t, err
		}
	}
	for i := range f.Simulations {
		if err := t.count(f.Simulations[i].run(), w); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *Tally) count(grants []Grant, w *json.Encoder) error {
	ok := true
	for _, g := range grants {
		ok = ok && g.Verdict != differs
		if err := w.Encode(g); err != nil {
			return fmt.Errorf("write a grant: %w", err)
		}
	}
	if ok {
		t.Passed++
	} else {
		t.Differ++
	}
	return nil
}

// algorithms of the original, by name. The historic iterative one is what its
// documents call fair share, and what ours does.
func algorithms() map[string]capacitypb.Algorithm {
	return map[string]capacitypb.Algorithm{
		"NO_ALGORITHM":         capacitypb.Algorithm_ALGORITHM_NONE,
		"STATIC":               capacitypb.Algorithm_ALGORITHM_STATIC,
		"PROPORTIONAL_SHARE":   capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE,
		"FAIR_SHARE":           capacitypb.Algorithm_ALGORITHM_FAIR_SHARE,
		"FAIR_SHARE_ITERATIVE": capacitypb.Algorithm_ALGORITHM_FAIR_SHARE,
		"PRIORITY":             capacitypb.Algorithm_ALGORITHM_PRIORITY,
	}
}

// run is one history on the machine.
type run struct {
	*Vector
	r    *lab.Resource
	def  *capacitypb.Definition
	book book
	// said is the last grant of each client in the vector: a client that reports it
	// as what it has does not lie, and reports ours.
	said map[string]Number
	// parent is when the lease from the parent ends.
	parent *float64
}

func (v *Vector) run() ([]Grant, error) {
	x := &run{Vector: v, r: lab.New(), said: map[string]Number{}, book: newBook()}
	kind, err := kindOf(v.Algorithm)
	if err != nil {
		return nil, err
	}
	x.def = &capacitypb.Definition{
		Capacity: &v.Capacity, SafeCapacity: v.Safe, Algorithm: kind,
		LeaseLengthMs: lab.Seconds(v.LeaseLength).Milliseconds(), RefreshIntervalMs: lab.Seconds(v.RefreshInterval).Milliseconds(),
	}
	var grants []Grant
	for i, s := range v.Steps {
		if i == 0 {
			x.r.Now = lab.Seconds(s.At)
			if err := x.r.Configure(x.def, x.learning(s.At)); err != nil {
				return nil, err
			}
		}
		x.r.Now = lab.Seconds(s.At)
		g, err := x.step(i, &v.Steps[i])
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i, err)
		}
		if g != nil {
			grants = append(grants, *g)
		}
	}
	return grants, nil
}

func kindOf(name string) (capacitypb.Algorithm, error) {
	kind, ok := algorithms()[name]
	if !ok {
		return 0, fmt.Errorf("there is no algorithm %q", name)
	}
	return kind, nil
}

// learning is how long a resource that is first seen at a time will learn.
func (v *Vector) learning(first float64) time.Duration {
	length := v.LeaseLength
	if v.Learning != nil {
		length = *v.Learning
	}
	return max(0, lab.Seconds(v.MasterSince+length-first))
}

func (x *run) step(i int, s *Step) (*Grant, error) {
	switch s.Op {
	case "get":
		return x.get(i, s)
	case "release":
		x.book.release(s.Client)
		return nil, x.r.Release(s.Client)
	case "config":
		return nil, x.config(s)
	}
	return nil, fmt.Errorf("there is no operation %q: want get, release or config", s.Op)
}

// config changes the definition as the vector says.
func (x *run) config(s *Step) error {
	if s.Capacity != nil {
		x.def.Capacity = s.Capacity
	}
	if s.Algorithm != nil {
		kind, err := kindOf(*s.Algorithm)
		if err != nil {
			return err
		}
		x.def.Algorithm = kind
	}
	if s.Lease != nil {
		x.def.LeaseLengthMs = lab.Seconds(*s.Lease).Milliseconds()
	}
	if s.Refresh != nil {
		x.def.RefreshIntervalMs = lab.Seconds(*s.Refresh).Milliseconds()
	}
	if s.Safe != nil {
		x.def.SafeCapacity = s.Safe
	}
	if s.ParentExpiry != nil {
		x.parent, x.def.Parent = s.ParentExpiry, "capacity/parent"
	}
	if err := x.r.Configure(x.def, 0); err != nil {
		return err
	}
	if x.parent == nil {
		return nil
	}
	return x.r.Parent(x.def.GetCapacity(), lab.Seconds(*x.parent), 0)
}

// get asks, confirms the answer at once, and judges it.
func (x *run) get(i int, s *Step) (*Grant, error) {
	q := s.Ask.request()
	has := float64(s.Ask.Has)
	if same(s.Ask.Has, x.said[s.Ask.Client]) {
		has = x.book.holds(s.Ask.Client, s.At)
	}
	q.Has = &has
	g, err := x.r.Ask(q)
	if err != nil {
		return nil, err
	}
	out := &Grant{Vector: x.ID, Step: i, Time: s.At, Client: s.Ask.Client, Wants: s.Ask.Wants, Expected: s.expected()}
	x.said[s.Ask.Client] = s.expected()
	if g.GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
		wrong := x.Class == "quirk" || s.Expected.Grant == nil
		out.Refused, out.Verdict = g.GetDetail(), verdict(wrong, refused)
		return out, nil
	}
	if err := x.r.Confirm(s.Ask.Client, g); err != nil {
		return nil, err
	}
	given := g.GetCapacity()
	out.Grant, out.Safe, out.Learning = &given, g.GetSafeCapacity(), g.GetLearning()
	out.Expiry, out.Refresh = s.At+float64(g.GetLeaseMs())/1000, float64(g.GetRefreshMs())/1000
	out.Verdict = x.judge(s, given, g.GetLearning())
	x.book.note(s.Ask, lease{given, out.Expiry})
	return out, nil
}

func (a Ask) request() *capacitypb.Request {
	q := &capacitypb.Request{ClientId: a.Client}
	for _, b := range a.Bands {
		q.Bands = append(q.Bands, &capacitypb.Band{Priority: b.Priority, Clients: b.Clients, Wants: float64(b.Wants)})
	}
	if len(q.Bands) == 0 {
		q.Bands = []*capacitypb.Band{{Priority: a.Priority, Clients: a.weight(), Wants: float64(a.Wants)}}
	}
	return q
}

func (s *Step) expected() Number {
	if s.Expected.Grant == nil {
		return 0
	}
	return *s.Expected.Grant
}

// judge compares a grant with what the original gave, and, where that is wrong,
// with what its formula gives within what was wanted, and with the max-min answer.
func (x *run) judge(s *Step, given float64, learning bool) string {
	legal := given >= 0 && given <= float64(s.Ask.Wants)*(1+tolerance)
	expected := float64(s.expected())
	switch {
	case x.Class != "quirk":
		return verdict(near(given, expected), match)
	case !legal:
		return differs
	case near(given, expected):
		return match
	case s.Clamped != nil && near(given, float64(*s.Clamped)):
		return clamped
	case s.Ideal != nil && near(given, float64(*s.Ideal)):
		return maxMin
	case learning:
		return differs
	}
	return x.judgeByBook(s, given)
}

// judgeByBook finds the answers that are right in the state that there is here: it is
// another than the original's when an earlier answer was.
func (x *run) judgeByBook(s *Step, given float64) string {
	capacity := x.def.GetCapacity()
	if x.parent != nil && s.At > *x.parent {
		capacity = 0
	}
	x.book.expire(s.Ask.Client, s.At)
	if x.def.GetAlgorithm() == capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE && near(given, x.book.proportional(s.Ask, capacity)) {
		return clamped
	}
	return verdict(near(given, x.book.maxMin(s.Ask, capacity)), maxMin)
}

func verdict(ok bool, good string) string {
	if ok {
		return good
	}
	return differs
}

// tolerance of grants, relative to what is expected.
const tolerance = 1e-9

func near(a, b float64) bool { return math.Abs(a-b) <= tolerance*max(1, math.Abs(b)) }

// run replays a history under the rules of the original's simulation.
func (v *Simulation) run() []Grant {
	s := simulate.NewScaling(simulate.Rules{
		Capacity: v.Capacity, Lease: v.LeaseLength, Refresh: v.RefreshInterval,
		Decay: v.Decay, Level: v.Level, OwnExpiry: v.OwnExpiry,
	})
	var grants []Grant
	for i, step := range v.Steps {
		l := s.Ask(step.At, step.Client, step.Wants)
		given := l.Capacity
		ok := near(given, step.Grant) &&
			(step.Expiry == nil || near(l.Expiry, *step.Expiry)) && (step.Refresh == nil || near(l.Refresh, *step.Refresh))
		grants = append(grants, Grant{
			Vector: v.ID, Step: i, Time: step.At, Client: step.Client, Wants: Number(step.Wants),
			Grant: &given, Expiry: l.Expiry, Refresh: l.Refresh, Expected: Number(step.Grant), Verdict: verdict(ok, match),
		})
	}
	return grants
}
