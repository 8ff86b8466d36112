//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/sequence"
	rrseqpb "github.com/drumline/drumline/drummerpb/rrseq"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/localfleet"
)

// TestSequencesOfManyKinds is what needs no fault of a server to go wrong; rr_seq failed
// at most of it.
func TestSequencesOfManyKinds(t *testing.T) {
	w, c := newSequences(t, "sequence/unbuffered", "sequence/mixed", "sequence/crowd", "sequence/keys")
	for _, scenario := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"quick start", func(t *testing.T) { quickStart(t, w, c) }},
		{"mixed buffers", func(t *testing.T) { mixedBuffers(t, c) }},
		{"readers", func(t *testing.T) { readers(t, c) }},
		{"unbuffered", func(t *testing.T) { unbuffered(t, c) }},
		{"clients end", func(t *testing.T) { clientsEnd(t, w, c) }},
		{"lost answers", func(t *testing.T) { lostAnswers(t, c) }},
		{"thousands of clients", func(t *testing.T) { thousands(t, c) }},
		{"odd requests", func(t *testing.T) { oddRequests(t, c) }},
		{"definitions", func(t *testing.T) { definitions(t, c) }},
		{"dropped", func(t *testing.T) { dropped(t, c) }},
		{"many keys", func(t *testing.T) { manyKeys(t, w, c) }},
	} {
		t.Run(scenario.name, scenario.run)
	}
}

// quickStart: rr_seq's, with two processes at their own pace, and with no delay.
func quickStart(t *testing.T, w *world, c *client.Client) {
	slow := newCast(t, c, family+"#myseq")
	one := slow.streamer(w, "1000 each 10 ms", "--buffer", "1000", "--delay", "10ms")
	one.read(1)
	first, _ := one.book.Last()
	require.EqualValues(t, 1, first, "a new name begins at 1")
	two := slow.streamer(w, "1250 each 5 ms", "--buffer", "1250", "--delay", "5ms")
	began := time.Now()
	both(func() { one.read(100) }, func() { two.read(200) })
	require.Greater(t, time.Since(began), 990*time.Millisecond, "at their own pace")
	both(func() { one.end(syscall.SIGINT) }, func() { two.end(syscall.SIGINT) })
	slow.judge(false)

	fast := newCast(t, c, family+"#fast")
	one, two = fast.streamer(w, "1000", "--buffer", "1000"), fast.streamer(w, "1250", "--buffer", "1250")
	both(func() { one.read(100_000) }, func() { two.read(100_000) })
	both(func() { one.end(syscall.SIGINT) }, func() { two.end(syscall.SIGINT) })
	fast.judge(false)
}

// both runs two at a time.
func both(a, b func()) {
	var work sync.WaitGroup
	work.Go(a)
	work.Go(b)
	work.Wait()
}

// mixedBuffers: 32 clients with sizes of each kind, as fast as they can.
func mixedBuffers(t *testing.T, c *client.Client) {
	p := newCast(t, c, "sequence/mixed")
	sizes := []int{10, 13, 100, 150, 200, 1000, 1250, 0, 1, 2, 1024}
	p.together(32, func(i int) []sequence.Option { return []sequence.Option{sequence.Buffer(sizes[i%len(sizes)])} })
	p.judge(false)
}

// together lets clients draw for as long as a scenario goes on; each ends with its last
// number in hand.
func (p *cast) together(clients int, opts func(i int) []sequence.Option) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), seqRun+time.Minute)
	defer cancel()
	var stop atomic.Bool
	bell := time.AfterFunc(seqRun, func() { stop.Store(true) })
	defer bell.Stop()
	var work sync.WaitGroup
	for i := range clients {
		a := p.actor(fmt.Sprint("client ", i), opts(i)...)
		work.Go(func() {
			defer a.end()
			if err := a.draw(ctx, 60_000, &stop); err != nil {
				p.Errorf("client %d: %v", i, err)
			}
		})
	}
	work.Wait()
}

// readers: one client is dense, whatever its buffer and however many read it.
func readers(t *testing.T, c *client.Client) {
	for _, buffer := range []int{0, 1, 2, 1024} {
		p := newCast(t, c, fmt.Sprint(family, "#one-", buffer))
		p.play("the only one", 150+10*buffer, sequence.Buffer(buffer))
		p.dense(p.judge(true))
	}
	p := newCast(t, c, family+"#three")
	stream := p.actor("three readers in turn", sequence.Buffer(100))
	for range 3 * 200 {
		sent := time.Now()
		stream.book.Note(<-stream.Stream(), sent, time.Now())
	}
	stream.end()
	p.dense(p.judge(false))

	p = newCast(t, c, family+"#many")
	shared := p.actor("the one that 256 share", sequence.Buffer(1024))
	var work sync.WaitGroup
	for i := range 256 {
		reader := &actor{shared.Sequence, p.numbers.Book(fmt.Sprint("reader ", i))}
		work.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := reader.draw(ctx, 100, nil); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	shared.end()
	p.dense(p.judge(false))
}

// unbuffered: 32 clients that take number by number, in order, without a gap, all alike.
func unbuffered(t *testing.T, c *client.Client) {
	p := newCast(t, c, "sequence/unbuffered")
	p.together(32, func(int) []sequence.Option { return nil })
	r := p.judge(true)
	p.dense(r)
	require.Greater(t, r.Fewest, r.Most/4, "some client is starved")
}

// clientsEnd: a client that is killed loses its own range and no more, which is accounted
// for; one that is interrupted gives it back.
func clientsEnd(t *testing.T, w *world, c *client.Client) {
	p := newCast(t, c, family+"#ends")
	killed := p.streamer(w, "killed", "--buffer", "1000", "--delay", "1ms")
	killed.read(20)
	killed.end(os.Kill)
	i := p.describe()
	require.LessOrEqual(t, i.GetOutstanding()+i.GetLost(), uint64(1000), "its own range and no more")
	require.GreaterOrEqual(t, int(i.GetOutstanding()+i.GetLost()), 1000-killed.book.Len(), "what it did not use is accounted for")
	again := p.streamer(w, "started again", "--buffer", "1000", "-n", "5")
	again.read(5)
	again.end(os.Interrupt)
	top, _ := again.book.Last()
	require.EqualValues(t, 1005, top)
	w.within(20*time.Second, "the tail is given back", func() (bool, string) {
		next := p.describe().GetNext()
		return next == 1006, fmt.Sprint(next)
	})
	interrupted := p.streamer(w, "interrupted", "--buffer", "1000", "--delay", "1ms")
	interrupted.read(20)
	interrupted.end(os.Interrupt)
	last, _ := interrupted.book.Last()
	i = p.describe()
	// A number that was taken when the signal came, and not printed, is lost.
	require.LessOrEqual(t, i.GetNext()-last, int64(2), "what is left is given back")
	p.judge(false)
}

// lostAnswers: the command was applied, the answer is lost, and the same range comes by
// the next try: no gap.
func lostAnswers(t *testing.T, c *client.Client) {
	p := newCast(t, c, family+"#lost")
	p.lose = 5
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() { p.play(fmt.Sprint("client ", i), 100) })
	}
	work.Wait()
	p.dense(p.judge(true))
	p = newCast(t, c, family+"#lost-buffered")
	p.lose = 3
	p.play("buffered", 1000, sequence.Buffer(13))
	p.dense(p.judge(true))
}

// thousands: more clients of one group than dragonboat has sessions. All take a number,
// then all ask for it again.
func thousands(t *testing.T, c *client.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := service(c)
	callers, first := make([]*sequencepb.Caller, seqClients), make([]int64, seqClients)
	ask := func(i int) (*sequencepb.Result, error) {
		return s.Next(ctx, &sequencepb.NextRequest{Group: "sequence/crowd", Caller: callers[i]})
	}
	crowd(seqClients, func(i int) error {
		r, err := s.Open(ctx, &sequencepb.OpenRequest{Group: "sequence/crowd"})
		if err != nil {
			return err
		}
		callers[i] = &sequencepb.Caller{Client: r.GetClient(), Serial: 1}
		got, err := ask(i)
		first[i] = got.GetGrant().GetFirst()
		return err
	}, t)
	crowd(seqClients, func(i int) error {
		got, err := ask(i)
		if err == nil && got.GetGrant().GetFirst() != first[i] {
			return fmt.Errorf("client %d got %d and, asking again, %v", i, first[i], got)
		}
		return err
	}, t)
	seen := map[int64]bool{}
	for _, n := range first {
		require.False(t, seen[n], n)
		seen[n] = true
		require.True(t, n > 0 && n <= seqClients, "a gap below %d", n)
	}
}

// crowd does n things, 128 at a time.
func crowd(n int, do func(i int) error, t *testing.T) {
	t.Helper()
	var next atomic.Int64
	var work sync.WaitGroup
	for range 128 {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					t.Errorf("%d: %v", i, err)
					return
				}
			}
		})
	}
	work.Wait()
	require.False(t, t.Failed())
}

// oddRequests: ranges that are none or endless, and names that are none.
func oddRequests(t *testing.T, c *client.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rr := rrseqpb.NewRRAPIClient(c.Hosts())
	next := func(name string, size int64) (*rrseqpb.NextIDReply, error) {
		return rr.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: name, RangeSize: size})
	}
	for i, size := range []int64{0, -42, 1} {
		r, err := next("fam#odd", size)
		require.NoError(t, err)
		require.Equal(t, []int{i + 1, i + 2}, []int{int(r.GetFromId()), int(r.GetToId())}, "as in the original, less than one is one")
	}
	first, err := next("fam#sizes", 1000)
	require.NoError(t, err)
	second, err := next("fam#sizes", 1250)
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 1001, 1001, 2251}, []uint64{first.GetFromId(), first.GetToId(), second.GetFromId(), second.GetToId()})
	end, exhausted := uint64(4), 0
	for range 5 {
		r, err := next("fam#odd", 1<<62)
		if err != nil {
			require.ErrorContains(t, err, "exhausted")
			exhausted++
			continue
		}
		require.Equal(t, end, r.GetFromId())
		end = r.GetToId()
	}
	require.Positive(t, exhausted)
	r, err := next("fam#not-odd", 1000)
	require.NoError(t, err, "another name does not notice")
	require.EqualValues(t, 1, r.GetFromId())
	for _, name := range []string{"", strings.Repeat("x", 1<<20), "\x00\x01\x02", "fam#" + strings.Repeat("x", 1<<20)} {
		_, err := next(name, 1)
		require.Error(t, err, "%.20q", name)
	}
	_, err = rr.GRPCSetID(ctx, &rrseqpb.SetIDRequest{Name: "fam#not-odd", NewId: 1 << 62})
	require.Error(t, err)
}

// admin is the calls of administrators on keys of the family.
type admin struct {
	*testing.T
	ctx context.Context
	s   sequencepb.SequenceClient
}

func newAdmin(t *testing.T, c *client.Client) *admin {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return &admin{t, ctx, service(c)}
}

func (a *admin) create(key string, d *sequencepb.Definition) *sequencepb.Result {
	a.Helper()
	r, err := a.s.Create(a.ctx, &sequencepb.CreateRequest{Group: family, Create: &sequencepb.Create{Key: key, Definition: d}})
	require.NoError(a, err)
	require.Equal(a, sequencepb.Outcome_OUTCOME_OK, r.GetOutcome(), r.GetDetail())
	return r
}

// take takes n numbers, one by one; fewer when the sequence ends.
func (a *admin) take(key string, n int) (got []int64) {
	a.Helper()
	for range n {
		r, err := a.s.Next(a.ctx, &sequencepb.NextRequest{Group: family, Next: &sequencepb.Next{Key: key}})
		require.NoError(a, err)
		if r.GetOutcome() == sequencepb.Outcome_OUTCOME_EXHAUSTED {
			return got
		}
		require.Equal(a, sequencepb.Outcome_OUTCOME_OK, r.GetOutcome(), r.GetDetail())
		got = append(got, r.GetGrant().GetFirst())
	}
	return got
}

// definitions: SQL's words mean what they mean in SQL.
func definitions(t *testing.T, c *client.Client) {
	a := newAdmin(t, c)
	for name, test := range map[string]struct {
		d    *sequencepb.Definition
		want []int64
	}{
		"plain":            {nil, []int64{1, 2, 3, 4, 5, 6}},
		"start and step":   {&sequencepb.Definition{Start: proto.Int64(10), Step: 5, Max: proto.Int64(23)}, []int64{10, 15, 20}},
		"cycle":            {&sequencepb.Definition{Start: proto.Int64(8), Min: proto.Int64(5), Max: proto.Int64(9), Cycle: true}, []int64{8, 9, 5, 6, 7, 8}},
		"descending":       {&sequencepb.Definition{Step: -2, Max: proto.Int64(10), Min: proto.Int64(5)}, []int64{10, 8, 6}},
		"descending cycle": {&sequencepb.Definition{Step: -4, Max: proto.Int64(10), Min: proto.Int64(1), Cycle: true}, []int64{10, 6, 2, 10, 6, 2}},
		"below nought":     {&sequencepb.Definition{Step: -1}, []int64{-1, -2, -3, -4, -5, -6}},
	} {
		a.create(name, test.d)
		require.Equal(t, test.want, a.take(name, 6), name)
	}
	_, err := a.s.Restart(a.ctx, &sequencepb.RestartRequest{Group: family, Restart: &sequencepb.Restart{Key: "descending"}})
	require.NoError(t, err)
	require.Equal(t, []int64{10, 8}, a.take("descending", 2))
	_, err = a.s.Restart(a.ctx, &sequencepb.RestartRequest{Group: family, Restart: &sequencepb.Restart{Key: "plain", With: proto.Int64(100)}})
	require.NoError(t, err)
	require.Equal(t, []int64{100, 101}, a.take("plain", 2))
	_, err = a.s.Set(a.ctx, &sequencepb.SetRequest{Group: family, Set: &sequencepb.Set{Key: "plain", Next: proto.Int64(70)}})
	require.NoError(t, err)
	require.Equal(t, []int64{70, 71}, a.take("plain", 2))
}

// dropped: a sequence that is dropped and made anew is another one, which clients of the
// first get nothing from and give nothing back to.
func dropped(t *testing.T, c *client.Client) {
	a := newAdmin(t, c)
	before := a.create("again", nil).GetIncarnation()
	q := c.Sequence(family+"#again", sequence.Buffer(100))
	_, err := q.Next(a.ctx)
	require.NoError(t, err)
	_, err = a.s.Drop(a.ctx, &sequencepb.DropRequest{Group: family, Drop: &sequencepb.Drop{Key: "again"}})
	require.NoError(t, err)
	require.NotEqual(t, before, a.create("again", nil).GetIncarnation())
	for range 99 { // what it has in hand
		_, err = q.Next(a.ctx)
		if err != nil {
			break
		}
	}
	for err == nil {
		_, err = q.Next(a.ctx)
	}
	require.ErrorIs(t, err, sequence.ErrDifferent)
	_ = q.Close() // what it gives back is refused
	require.Equal(t, []int64{1, 2}, a.take("again", 2), "nothing of the old one came back")
}

// manyKeys: what a key costs, in time and in memory, is the same however many there are.
func manyKeys(t *testing.T, w *world, c *client.Client) {
	before := w.resident()
	began := time.Now()
	drawKeys(t, c, 0, seqKeys/10)
	few := time.Since(began) / (seqKeys / 10)
	drawKeys(t, c, seqKeys/10, seqKeys*9/10)
	many := time.Hour
	const parts = 5 // whatever else the machine does, it leaves one of them alone
	for i := range parts {
		part := seqKeys / 10 / parts
		at := seqKeys*9/10 + i*part
		began = time.Now()
		drawKeys(t, c, at, at+part)
		many = min(many, time.Since(began)/time.Duration(part))
	}
	each := (w.resident() - before) / seqKeys
	t.Logf("%d keys: %d bytes a key on all three hosts, %s each for the first tenth, %s for the last, at best", seqKeys, each, few, many)
	require.Less(t, each, int64(3*4000))
	require.Less(t, many, 4*few+200*time.Microsecond, "a key costs more with more keys")
	r, err := service(c).Status(t.Context(), &sequencepb.StatusRequest{Group: "sequence/keys"})
	require.NoError(t, err)
	require.EqualValues(t, seqKeys, r.GetInfo().GetKeys())
}

// drawKeys takes a number of each key, over the native stream.
func drawKeys(t *testing.T, c *client.Client, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	stream, err := service(c).Stream(ctx)
	require.NoError(t, err)
	const frame = 256
	sent := make(chan error, 1)
	go func() {
		for at := from; at < to; at += frame {
			req := &sequencepb.StreamRequest{}
			for i := at; i < min(at+frame, to); i++ {
				next := &sequencepb.NextRequest{Group: "sequence/keys", Next: &sequencepb.Next{Key: fmt.Sprint("key-", i)}}
				req.Wants = append(req.Wants, &sequencepb.Want{Id: uint64(i), Request: next})
			}
			if err := stream.Send(req); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for got := 0; got < to-from; {
		resp, err := stream.Recv()
		require.NoError(t, err)
		for _, g := range resp.GetGot() {
			require.EqualValues(t, 1, g.GetResult().GetGrant().GetFirst(), "%v", g)
			got++
		}
	}
	require.NoError(t, <-sent)
}

// resident is the memory of all hosts.
func (w *world) resident() (sum int64) {
	w.Helper()
	for _, p := range w.fleet.Processes() {
		if p.Kind != localfleet.KindNodeHost {
			continue
		}
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID))
		w.must(err)
		var size, pages int64
		_, err = fmt.Sscan(string(raw), &size, &pages)
		w.must(err)
		sum += pages * int64(os.Getpagesize())
	}
	return sum
}
