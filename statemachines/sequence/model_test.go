package sequence_test

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// model is a sequence told in the simplest way: it walks number by number, keeps every
// number that it ever issued, and a stack of those that may still be taken back.
type model struct {
	step, low, high *big.Int
	cycle           bool
	at              *big.Int
	// out are the numbers that somebody has; a cycle or a restart clears it, for then
	// numbers come again by order.
	out map[int64]bool
	// stack has the issued numbers that nothing but a return came after.
	stack   []issued
	ranges  []*issuedRange
	answers map[uint64]*sequencepb.Result // by serial, of the only client
}

type issued struct {
	number int64
	of     *issuedRange
}

type issuedRange struct {
	serial  uint64
	granted int
	numbers []int64
}

func newModel(d *sequencepb.Definition) *model {
	m := &model{
		step: big.NewInt(d.GetStep()), low: big.NewInt(d.GetMin()), high: big.NewInt(d.GetMax()), cycle: d.GetCycle(),
		out: map[int64]bool{}, answers: map[uint64]*sequencepb.Result{},
	}
	m.jump(d.GetStart())
	return m
}

func (m *model) jump(to int64) {
	m.at, m.out, m.stack = big.NewInt(to), map[int64]bool{}, nil
}

func (m *model) ended() bool { return m.at.Cmp(m.low) < 0 || m.at.Cmp(m.high) > 0 }

// take issues up to n numbers.
func (m *model) take(t *rapid.T, serial uint64, n int) []int64 {
	if m.ended() && m.cycle {
		if m.step.Sign() > 0 {
			m.jump(m.low.Int64())
		} else {
			m.jump(m.high.Int64())
		}
	}
	r := &issuedRange{serial: serial}
	for len(r.numbers) < n && !m.ended() {
		v := m.at.Int64()
		require.False(t, m.out[v], "%d is issued twice", v)
		m.out[v] = true
		m.stack = append(m.stack, issued{v, r})
		r.numbers = append(r.numbers, v)
		m.at = new(big.Int).Add(m.at, m.step)
	}
	if r.granted = len(r.numbers); r.granted > 0 {
		m.ranges = append(m.ranges, r)
	}
	return r.numbers
}

// giveBack takes all but keep numbers of a range back if they are on top of the stack.
func (m *model) giveBack(r *issuedRange, keep int) (taken int, last bool) {
	if keep >= len(r.numbers) {
		return 0, true
	}
	tail := r.numbers[keep:]
	r.numbers = r.numbers[:keep]
	if len(m.stack) < len(tail) {
		return 0, false
	}
	for i, v := range tail {
		if top := m.stack[len(m.stack)-len(tail)+i]; top.number != v || top.of != r {
			return 0, false
		}
	}
	m.stack = m.stack[:len(m.stack)-len(tail)]
	for _, v := range tail {
		delete(m.out, v)
	}
	m.at = big.NewInt(tail[0])
	return len(tail), true
}

func drawDefinition(t *rapid.T) *sequencepb.Definition {
	step := rapid.Int64Range(-5, 5).Filter(func(s int64) bool { return s != 0 }).Draw(t, "step")
	edge := rapid.SampledFrom([]int64{0, 1, -20, 1<<63 - 40, -1 << 63}).Draw(t, "edge")
	width := rapid.Int64Range(0, 39).Draw(t, "width")
	start := edge + rapid.Int64Range(0, width).Draw(t, "start")
	return &sequencepb.Definition{
		Step: step, Min: proto.Int64(edge), Max: proto.Int64(edge + width), Start: &start, Cycle: rapid.Bool().Draw(t, "cycle"),
	}
}

// The machine against the model: every number, every retry and every return.
func TestLikeTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDefinition(t)
		w, m := newWorld(t), newModel(d)
		require.Equal(t, okay, w.do(create("", d)).GetOutcome())
		u := w.open()
		sent := map[uint64]*sequencepb.Command{}
		t.Repeat(map[string]func(*rapid.T){
			"next": func(t *rapid.T) {
				n := rapid.IntRange(1, 9).Draw(t, "n")
				c := take(uint64(n))
				r := u.do(c)
				sent[u.serial], m.answers[u.serial] = c, r
				want := m.take(t, u.serial, n)
				if len(want) == 0 {
					require.Equal(t, exhausted, r.GetOutcome())
					return
				}
				require.Equal(t, want, numbers(t, r))
			},
			"retry": func(t *rapid.T) {
				if u.serial == 0 {
					t.Skip("nothing to retry")
				}
				serial := rapid.Uint64Range(1, u.serial).Draw(t, "serial")
				if sent[serial] == nil {
					t.Skip("a return")
				}
				require.True(t, proto.Equal(m.answers[serial], w.do(sent[serial])))
			},
			"give back": func(t *rapid.T) {
				if len(m.ranges) == 0 {
					t.Skip("nothing to return")
				}
				r := rapid.SampledFrom(m.ranges).Draw(t, "range")
				unused := rapid.IntRange(0, r.granted).Draw(t, "unused")
				got := u.do(giveBack(r.serial, uint64(unused)))
				taken, last := m.giveBack(r, r.granted-unused)
				require.Equal(t, last, got.GetOutcome() == okay, got.GetDetail())
				require.EqualValues(t, taken, got.GetReturned())
			},
			"restart": func(t *rapid.T) {
				to := rapid.Int64Range(d.GetMin(), d.GetMax()).Draw(t, "to")
				require.Equal(t, okay, w.do(restart(&sequencepb.Restart{With: &to})).GetOutcome())
				m.jump(to)
			},
			"reload": func(*rapid.T) { w.reload() },
			"": func(t *rapid.T) {
				i := w.describe("")
				require.Equal(t, m.ended(), i.Next == nil)
				if i.Next != nil {
					require.Equal(t, m.at.Int64(), i.GetNext())
				}
				held := 0
				for _, r := range m.ranges {
					held += len(r.numbers)
				}
				require.EqualValues(t, held, i.GetOutstanding())
				require.EqualValues(t, len(m.ranges), i.GetOutstandingRanges())
			},
		})
	})
}

// Many clients, many keys, no returns by magic: whatever is lost, repeated or reordered,
// no two clients ever get the same number.
func TestNothingIsHandedOutTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		owners := map[string]map[int64]string{"": {}, "a": {}}
		users := []*user{w.open(), w.open(), w.open()}
		type sending struct {
			u *user
			c *sequencepb.Command
		}
		var lost []sending
		apply := func(t *rapid.T, s sending) {
			r := w.do(s.c)
			who := s.c.GetCaller().String()
			if r.GetOutcome() == sequencepb.Outcome_OUTCOME_TOO_OLD {
				return
			}
			mine := owners[s.c.GetNext().GetKey()]
			for _, n := range numbers(t, r) {
				require.Contains(t, []string{"", who}, mine[n], "%d is handed out twice", n)
				mine[n] = who
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				u := rapid.SampledFrom(users).Draw(t, "user")
				c := next(&sequencepb.Next{Key: rapid.SampledFrom([]string{"", "a"}).Draw(t, "key"), Count: rapid.Uint64Range(0, 5).Draw(t, "count")})
				c.Caller = u.caller()
				s := sending{u, c}
				if rapid.Bool().Draw(t, "late") {
					lost = append(lost, s)
					return
				}
				apply(t, s)
				lost = append(lost, s) // it may come again
			},
			"arrive": func(t *rapid.T) {
				if len(lost) > 0 {
					apply(t, rapid.SampledFrom(lost).Draw(t, "late"))
				}
			},
			"reload": func(*rapid.T) { w.reload() },
		})
	})
}

func TestGapFreeHasNoGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE})).GetOutcome())
		type held struct {
			*sequencepb.Reservation
			until int64
		}
		committed, open := map[int64]bool{}, map[int64]*held{}
		alive := func() {
			for n, h := range open {
				if h.until <= w.now {
					delete(open, n)
				}
			}
		}
		var old []*sequencepb.Reservation
		take := func(t *rapid.T, ms uint64) *held {
			alive()
			want := int64(1)
			for committed[want] || open[want] != nil {
				want++
			}
			r := w.do(reserve(ms)).GetReservation()
			require.Equal(t, want, r.GetNumber(), "the least number that is free")
			h := &held{r, w.now + int64(ms)*1e6}
			open[want], old = h, append(old, r)
			return h
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) { take(t, rapid.Uint64Range(1, 3000).Draw(t, "ms")) },
			"commit or cancel": func(t *rapid.T) {
				if len(old) == 0 {
					t.Skip("nothing was reserved")
				}
				alive()
				r := rapid.SampledFrom(old).Draw(t, "reservation")
				mine := open[r.GetNumber()] != nil && open[r.GetNumber()].Token == r.Token
				c := cancel(r)
				commits := rapid.Bool().Draw(t, "commit")
				if commits {
					c = commit(r)
				}
				require.Equal(t, mine, w.do(c).GetOutcome() == okay)
				if mine {
					delete(open, r.GetNumber())
					committed[r.GetNumber()] = committed[r.GetNumber()] || commits
				}
			},
			"wait":   func(t *rapid.T) { w.pass(rapid.Int64Range(0, 2000).Draw(t, "ms")) },
			"reload": func(*rapid.T) { w.reload() },
			"": func(t *rapid.T) {
				done := 0
				for _, yes := range committed {
					if yes {
						done++
					}
				}
				require.EqualValues(t, done, w.describe("").GetCommitted())
			},
		})
		// Settled, the committed numbers are exactly 1 to n.
		w.pass(10_000)
		for range len(old) + 1 {
			h := take(t, 1000)
			require.Equal(t, okay, w.do(commit(h.Reservation)).GetOutcome())
			delete(open, h.GetNumber())
			committed[h.GetNumber()] = true
		}
		n := int64(w.describe("").GetCommitted())
		for i := int64(1); i <= n; i++ {
			require.True(t, committed[i], "%d is missing", i)
		}
	})
}

// Whatever clocks say and whoever holds a worker: time stamps of one worker belong to
// one holder only.
func TestWorkersHaveTheirWindowsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		d := &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{WorkerBits: 2, LeaseMs: 1000}}
		require.Equal(t, okay, w.do(create("", d)).GetOutcome())
		type tenure struct{ floor, ceiling uint64 }
		tenures := map[uint32]map[uint64]*tenure{}
		var held []*sequencepb.Worker
		note := func(r *sequencepb.Result, fresh bool) {
			if r.GetOutcome() != okay {
				return
			}
			x := r.GetWorker()
			if tenures[x.GetWorker()] == nil {
				tenures[x.GetWorker()] = map[uint64]*tenure{}
			}
			if fresh {
				tenures[x.GetWorker()][x.GetToken()] = &tenure{floor: x.GetFloorMs()}
				held = append(held, x)
			}
			tenures[x.GetWorker()][x.GetToken()].ceiling = x.GetCeilingMs()
		}
		t.Repeat(map[string]func(*rapid.T){
			"lease": func(t *rapid.T) {
				note(w.do(lease(&sequencepb.LeaseWorker{NowMs: rapid.Uint64Range(1e6, 2e6).Draw(t, "now")})), true)
			},
			"renew": func(t *rapid.T) {
				if len(held) > 0 {
					h := rapid.SampledFrom(held).Draw(t, "worker")
					note(w.do(lease(&sequencepb.LeaseWorker{Worker: &h.Worker, Token: h.GetToken(), NowMs: rapid.Uint64Range(1e6, 2e6).Draw(t, "now")})), false)
				}
			},
			"release": func(t *rapid.T) {
				if len(held) > 0 {
					w.do(release(rapid.SampledFrom(held).Draw(t, "worker")))
				}
			},
			"wait":   func(t *rapid.T) { w.pass(rapid.Int64Range(0, 1500).Draw(t, "ms")) },
			"reload": func(*rapid.T) { w.reload() },
			"recover": func(t *rapid.T) {
				w.m.Recovered(w.status().GetGeneration() + 1)
				require.Equal(t, okay, w.do(resume(&sequencepb.Resume{Margin: 5000})).GetOutcome())
			},
			"": func(t *rapid.T) {
				for worker, all := range tenures {
					for a, x := range all {
						require.Less(t, x.floor, x.ceiling)
						for b, y := range all {
							require.True(t, a == b || x.ceiling <= y.floor || y.ceiling <= x.floor, "worker %d: %v and %v overlap", worker, x, y)
						}
					}
				}
			},
		})
	})
}

// Whichever hosts begin and move on windows, and whatever their clocks say: a window lies
// beyond all that were before it, and only the newest one moves on.
func TestWindowsOfTimestampsAscend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO})).GetOutcome())
		hosts, newest, high := make([]*sequencepb.Window, 3), -1, uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"advance": func(t *rapid.T) {
				h, begins := rapid.IntRange(0, 2).Draw(t, "host"), rapid.Bool().Draw(t, "begins")
				until := 1_700_000_000_000 + rapid.Uint64Range(0, 5000).Draw(t, "until")
				a := &sequencepb.Advance{UntilMs: until}
				if !begins && hosts[h] != nil {
					a.Window, a.Incarnation = hosts[h].GetWindow(), hosts[h].GetIncarnation()
				}
				r := w.do(advance(a))
				if a.GetWindow() != 0 && h != newest {
					require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, r.GetOutcome())
					return
				}
				require.Equal(t, okay, r.GetOutcome())
				require.Equal(t, high, r.GetWindow().GetFirst(), "it lies beyond all that was given")
				require.GreaterOrEqual(t, r.GetWindow().GetLast()>>18, until, "not behind the clock")
				high, newest, hosts[h] = r.GetWindow().GetLast()+1, h, r.GetWindow()
			},
			"reload": func(*rapid.T) { w.reload() },
			"": func(t *rapid.T) {
				if newest >= 0 {
					require.Equal(t, hosts[newest].GetWindow(), w.newest("").GetWindow())
				}
			},
		})
	})
}
