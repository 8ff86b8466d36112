//go:build e2e || e2elong

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/sequence"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/localfleet"
)

const (
	// stallOfLeader bounds how long a client waits when the host that leads its sequence
	// dies, stallOfFollower when another one does.
	stallOfLeader, stallOfFollower = 3 * time.Second, time.Second
	// resumeWithin bounds the first number after a majority is back.
	resumeWithin = 3 * time.Second
)

// TestSequencesAndKills: hosts end one by one and all together.
func TestSequencesAndKills(t *testing.T) {
	w, c := newSequences(t, "sequence/dense")
	t.Run("strangers", func(t *testing.T) { strangers(t, w) })
	t.Run("wrong drummers", func(t *testing.T) { wrongDrummers(t, w) })
	t.Run("one by one", func(t *testing.T) { oneByOne(t, w, c) })
	t.Run("all at once", func(t *testing.T) { allAtOnce(t, w, c) })
}

// TestSequencesWithoutAMajority: too few hosts answer, or none.
func TestSequencesWithoutAMajority(t *testing.T) {
	w, c := newSequences(t)
	if !t.Run("no quorum", func(t *testing.T) { noQuorum(t, w, c) }) {
		return // its hosts are down
	}
	t.Run("close", func(t *testing.T) { closeInSilence(t, w, c) })
}

// strangers: a host of another deployment that is given our drummers is told so, and is
// no host of ours.
func strangers(t *testing.T, w *world) {
	raw, err := os.ReadFile(filepath.Join(w.dir, "host-1", "config.yaml"))
	w.must(err)
	conf := map[string]any{}
	w.must(yaml.Unmarshal(raw, &conf))
	dir := t.TempDir()
	conf["name"], conf["deployment"], conf["data_dir"] = "stranger", "elsewhere", filepath.Join(dir, "data")
	for _, port := range []string{"api", "raft", "http"} {
		conf[port] = map[string]any{"listen": "127.0.0.1:0"}
	}
	raw, err = yaml.Marshal(conf)
	w.must(err)
	path := filepath.Join(dir, "config.yaml")
	w.must(os.WriteFile(path, raw, 0o600))
	cmd := exec.Command(filepath.Join(programs(t), "nodehost"), "--config", path)
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	w.must(cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }() // it is of no use any more
	w.within(20*time.Second, "the stranger is told", func() (bool, string) {
		text := said.String()
		return bytes.Contains([]byte(text), []byte("deployment")), text
	})
	hosts, err := w.client.Drummer().ListHosts(t.Context(), &drummerpb.ListHostsRequest{})
	w.must(err)
	require.NotContains(t, hosts.String(), "stranger")
}

// wrongDrummers: a host whose list has the drummers of another cluster, and a host in place
// of a drummer, is told so by both and no host of theirs. It serves what it has all the same,
// and is ours again when the list is right.
func wrongDrummers(t *testing.T, w *world) {
	other := newWorld(t, 1, 1)
	right := w.fleet.APIs(localfleet.KindDrummer)
	starts := func() uint64 { // of host-1, as its own drummers know
		hosts, err := w.client.Drummer().ListHosts(t.Context(), &drummerpb.ListHostsRequest{})
		w.must(err)
		for _, h := range hosts.GetHosts() {
			if h.GetHost().GetName() == "host-1" && h.GetState() == "up" {
				return h.GetHost().GetBootEpoch()
			}
		}
		return 0
	}
	before := starts()
	w.reconfigure("host-1", "drummers", append(other.fleet.APIs(localfleet.KindDrummer), other.fleet.APIs(localfleet.KindNodeHost)...))
	w.within(20*time.Second, "the host says what is wrong", func() (bool, string) {
		text := tail(w.dir, "host-1")
		return strings.Contains(text, "these drummers keep the record of fleet") && strings.Contains(text, "Unimplemented"), text
	})
	p, err := w.fleet.Process("host-1")
	w.must(err)
	conn, err := grpc.NewClient(p.API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	w.must(err)
	defer func() { w.must(conn.Close()) }()
	w.within(20*time.Second, "it serves", func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := sequencepb.NewSequenceClient(conn).Next(ctx, &sequencepb.NextRequest{Group: family, Next: &sequencepb.Next{Key: "served"}})
		return err == nil && r.GetGrant().GetCount() == 1, fmt.Sprint(r, err)
	})
	hosts, err := other.client.Drummer().ListHosts(t.Context(), &drummerpb.ListHostsRequest{})
	w.must(err)
	require.Len(t, hosts.GetHosts(), 1, "the other cluster has its own host only")
	w.reconfigure("host-1", "drummers", right)
	w.within(20*time.Second, "it is ours again", func() (bool, string) { n := starts(); return n == before+2, fmt.Sprint(before, n) })
}

// reconfigure changes a setting of a server, which it starts again.
func (w *world) reconfigure(name, setting string, value any) {
	w.Helper()
	w.set(name, setting, value)
	w.must(w.fleet.Stop(name))
	w.must(w.fleet.Start(name))
	w.ready(name)
}

// set writes a setting into a process's file, which it reads when it starts.
func (w *world) set(name, setting string, value any) {
	w.Helper()
	path := filepath.Join(w.dir, name, "config.yaml")
	raw, err := os.ReadFile(path)
	w.must(err)
	conf := map[string]any{}
	w.must(yaml.Unmarshal(raw, &conf))
	conf[setting] = value
	raw, err = yaml.Marshal(conf)
	w.must(err)
	w.must(os.WriteFile(path, raw, 0o600))
}

// lockedBuffer is what a process says.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// crew is actors that draw in the background.
type crew struct {
	stop  atomic.Bool
	work  sync.WaitGroup
	drawn []*atomic.Int64 // by each
}

// hire adds one; what it says is the test's failure.
func (k *crew) hire(p *cast, who string, opts ...sequence.Option) {
	a, drawn := p.actor(who, opts...), &atomic.Int64{}
	k.drawn = append(k.drawn, drawn)
	k.work.Go(func() {
		defer a.end()
		ctx, cancel := context.WithTimeout(p.Context(), 10*time.Minute)
		defer cancel()
		for !k.stop.Load() {
			if err := a.one(ctx); err != nil {
				p.Errorf("%s: %v", who, err)
				return
			}
			drawn.Add(1)
		}
	})
}

// calm waits until each has drawn so many numbers more.
func (k *crew) calm(w *world, more int64) {
	w.Helper()
	before := make([]int64, len(k.drawn))
	for i, drawn := range k.drawn {
		before[i] = drawn.Load()
	}
	w.within(20*time.Second, "everybody gets numbers", func() (bool, string) {
		for i, drawn := range k.drawn {
			if drawn.Load() < before[i]+more {
				return false, fmt.Sprint(i, " does not")
			}
		}
		return true, ""
	})
}

// home ends all, each with its last number in hand.
func (k *crew) home() {
	k.stop.Store(true)
	k.work.Wait()
}

// blow is the end of one host.
type blow struct {
	at, over time.Time
	leader   bool
	what     string
}

// oneByOne: followers and leaders end by each signal, under load. Dense stays dense, and
// nobody waits for long.
func oneByOne(t *testing.T, w *world, c *client.Client) {
	dense, ranges := newCast(t, c, "sequence/dense"), newCast(t, c, family+"#ranges")
	var slow, load crew
	for i := range 4 {
		slow.hire(dense, fmt.Sprint("unbuffered ", i))
	}
	for i := range 2 {
		load.hire(ranges, fmt.Sprint("buffered ", i), sequence.Buffer(10))
	}
	var blows []blow
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL}
	for i := range seqBlows {
		led := w.leader("sequence/dense")
		victim := led
		if i%2 == 1 {
			victim = w.other(led)
		}
		b := blow{at: time.Now(), leader: i%2 == 0, what: fmt.Sprint(signals[i%3], " of ", victim)}
		w.signal(victim, signals[i%3])
		w.must(w.fleet.Start(victim))
		w.ready(victim)
		slow.calm(w, 10)
		b.over = time.Now()
		b.leader = b.leader || w.leader("sequence/dense") != led // an election came in between
		blows = append(blows, b)
	}
	slow.home()
	load.home()
	r := dense.judge(true)
	dense.dense(r)
	ranges.judge(false)
	for _, b := range blows {
		limit := stallOfFollower
		if b.leader {
			limit = stallOfLeader
		}
		stall := dense.numbers.Stall(b.at, b.over)
		t.Logf("%s (leader: %v): nobody waited for longer than %s", b.what, b.leader, stall)
		require.LessOrEqual(t, stall, limit, b.what)
	}
}

// signal ends a host by a signal and waits for its end.
func (w *world) signal(name string, sig syscall.Signal) {
	w.Helper()
	p, err := w.fleet.Process(name)
	w.must(err)
	gone := make(chan struct{})
	w.mayEnd.Store(name, gone)
	w.must(syscall.Kill(p.PID, sig))
	began := time.Now()
	select {
	case <-gone:
		w.Logf("%s ends %s: %.1fs", sig, name, time.Since(began).Seconds())
	case <-time.After(20 * time.Second):
		w.Fatalf("%s does not end %s", sig, name)
	}
}

// ready waits for hosts, none for all.
func (w *world) ready(names ...string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.must(w.fleet.WaitReady(ctx, names...))
}

// other is a host that is not this one.
func (w *world) other(than string) string {
	hosts := w.hostNames()
	for {
		if h := hosts[rand.IntN(len(hosts))]; h != than {
			return h
		}
	}
}

func (w *world) hostNames() (names []string) {
	for _, p := range w.fleet.Processes() {
		if p.Kind == localfleet.KindNodeHost {
			names = append(names, p.Name)
		}
	}
	return names
}

// noQuorum: two of three are gone. What is in hand is handed out, then callers are told
// why they wait, waiting costs nothing, and one host is enough to go on.
func noQuorum(t *testing.T, w *world, c *client.Client) {
	p := newCast(t, c, family+"#drained")
	hand := p.actor("with a range in hand", sequence.Buffer(1000), sequence.Timeout(time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.must(hand.draw(ctx, 1, nil))
	idle := p.streamer(w, "who waits", "--buffer", "1")
	idle.read(5)
	go func() { // it goes on when the streamer is ended
		for idle.lines.Scan() {
			idle.note(time.Now())
		}
	}()
	both(func() { w.must(w.fleet.Kill("host-2")) }, func() { w.must(w.fleet.Kill("host-3")) })
	w.must(hand.draw(ctx, 999, nil))
	short, cut := context.WithTimeout(t.Context(), 3*time.Second)
	defer cut()
	err := hand.draw(short, 1001, nil) // at most one more range was on its way
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no quorum", "it says what it waits for")

	before, window := idle.used(), time.NewTimer(4*time.Second)
	<-window.C
	busy := idle.used() - before
	require.LessOrEqual(t, busy, 400*time.Millisecond, "more than a tenth of a core, to wait") // 1 to 5 % by the machine; one that spins takes all of it

	w.must(w.fleet.Start("host-2"))
	w.ready("host-2")
	began := time.Now()
	w.must(hand.draw(ctx, 1, nil))
	took := time.Since(began)
	t.Logf("waiting took %s of 4 s; %s after one host was back there was a number; it said %q", busy, took, err)
	require.Less(t, took, resumeWithin)
	w.must(w.fleet.Start("host-3"))
	w.ready("host-3")
	w.must(idle.cmd.Process.Signal(os.Interrupt))
	_ = idle.cmd.Wait() // it was told to
	hand.end()
	p.judge(false)
}

// allAtOnce: drummers and hosts, killed with kill -9 at any moment, also within 10 ms of
// the first number of a name, which rr_seq does not write down.
func allAtOnce(t *testing.T, w *world, c *client.Client) {
	worst := time.Duration(0)
	for round := range seqRounds {
		p := newCast(t, c, fmt.Sprint(family, "#round-", round))
		var load crew
		load.hire(p, "from the first number on", sequence.Buffer(100))
		if round%3 > 0 {
			load.hire(p, "and another", sequence.Buffer([]int{0, 13}[round%2]))
		}
		w.within(20*time.Second, "the first number", func() (bool, string) { return p.describe().GetIssued() > 0, "" })
		moment := time.NewTimer(rand.N([]time.Duration{10 * time.Millisecond, 10 * time.Millisecond, 300 * time.Millisecond}[round%3]))
		<-moment.C
		w.must(w.fleet.KillAll())
		w.must(w.fleet.StartAll())
		w.ready()
		began := time.Now()
		p.play("who comes after", 20)
		worst = max(worst, time.Since(began))
		load.home()
		p.judge(false)
	}
	t.Logf("%d times: the first numbers after a start took %s at most", seqRounds, worst)
	require.Less(t, worst, resumeWithin)
}

// closeInSilence: nothing answers, and Close returns all the same.
func closeInSilence(t *testing.T, w *world, c *client.Client) {
	quickest := time.Hour
	for _, how := range []func(string) error{w.fleet.Pause, w.fleet.Kill} {
		var held []*sequence.Sequence
		for i := range 3 {
			q := c.Sequence(fmt.Sprint(family, "#close-", i), sequence.Buffer(100))
			_, err := q.Next(t.Context())
			w.must(err)
			held = append(held, q)
		}
		for _, name := range w.hostNames() {
			w.must(how(name))
		}
		for _, q := range held {
			began := time.Now()
			_ = q.Close() // it says that it could give nothing back
			took := time.Since(began)
			require.Less(t, took, 3*time.Second, "whatever else this machine does")
			quickest = min(quickest, took)
		}
		require.LessOrEqual(t, quickest, time.Second)
		for _, name := range w.hostNames() {
			_ = w.fleet.Resume(name) // or it does not run
			w.must(w.fleet.Start(name))
		}
		w.ready()
	}
	t.Logf("Close took %s", quickest)
}

// TestSequencesAndLostData: a host loses its data and comes back as another one; and the
// order of faults in which rr_seq began at 1 again though no two of them overlapped.
func TestSequencesAndLostData(t *testing.T) {
	w, c := newSequences(t)
	p := newCast(t, c, family+"#wiped")
	p.play("before", 500, sequence.Buffer(10))
	hosts := func() string {
		r, err := w.client.Drummer().ListHosts(t.Context(), &drummerpb.ListHostsRequest{})
		w.must(err)
		for _, h := range r.GetHosts() {
			if h.GetHost().GetName() == "host-1" && h.GetState() == "up" {
				return h.GetHost().GetId()
			}
		}
		return ""
	}
	old := hosts()
	w.must(w.fleet.Wipe("host-1"))
	w.must(w.fleet.Start("host-1"))
	p.play("after", 500, sequence.Buffer(10))
	w.within(30*time.Second, "it is another host", func() (bool, string) { id := hosts(); return id != "" && id != old, id })
	if seqWholeAgain {
		w.within(2*time.Minute, "its replica is replaced", w.whole(nil))
	}
	p.judge(false)

	stale := newCast(t, c, family+"#stale")
	stale.play("all up", 100, sequence.Buffer(10))
	if !seqWholeAgain { // two replicas of three are left: both are needed
		w.within(40*time.Second, "its replica is replaced", w.whole(nil))
	}
	w.must(w.fleet.Kill("host-3"))
	stale.play("host 3 is down", 500, sequence.Buffer(10))
	w.must(w.fleet.Kill("host-2"))
	w.must(w.fleet.Wipe("host-1"))
	both(func() { w.must(w.fleet.Start("host-1")) }, func() { w.must(w.fleet.Start("host-3")) })
	w.ready("host-3")
	nobody := stale.actor("of an empty host and a stale one", sequence.Buffer(10))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	require.ErrorIs(t, nobody.draw(ctx, 1, nil), context.DeadlineExceeded, "there is no majority that knows")
	w.must(w.fleet.Start("host-2"))
	stale.play("host 2 is back", 500, sequence.Buffer(10))
	nobody.end()
	stale.judge(false)
}
