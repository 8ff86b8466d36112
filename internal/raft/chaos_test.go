package raft

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lni/goutils/vfs"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/ledger"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/raft/transport/membook"
	"github.com/drumline/drumline/internal/wait"
)

// chaos is three hosts, a network and disks that fail, and callers of one group whose
// outcomes are held against what the group applied in the end.
type chaos struct {
	*cluster
	t     *testing.T
	g     ids.Group
	dice  *rand.Rand
	disks []*vfs.MemFS
	// specs are the replicas of the hosts; that of a host without one has no ID.
	specs []Replica
	moves uint64
	quiet atomic.Bool
	wg    sync.WaitGroup
	stop  context.CancelFunc
	acked atomic.Int64
	reads atomic.Int64

	mu       sync.Mutex
	outcomes map[string]string // text → acked, refused, unknown
	runs     [][]string        // commands of one ProposeMany
}

func newChaos(t *testing.T, seed uint64, tweak func(*Options)) *chaos {
	t.Helper()
	c := &chaos{
		cluster: &cluster{t: t, book: membook.New(), version: 2, tweak: tweak, network: faults.New(seed)},
		t:       t, g: 1000, dice: rand.New(rand.NewPCG(seed, 1)), outcomes: make(map[string]string),
	}
	for _, id := range []ids.Host{"host-1", "host-2", "host-3", "host-4"} {
		c.disks = append(c.disks, vfs.NewStrictMem())
		c.specs = append(c.specs, spec(c.g, len(c.specs)))
		c.add(id, c.disks[len(c.disks)-1], t.TempDir())
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.crash()
		}
	})
	c.launch(c.g, 0, 1, 2)
	c.specs[3].ID = 0
	return c
}

// run starts the callers.
func (c *chaos) run() {
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.t.Cleanup(c.finish)
	for i := range 4 {
		c.loop(ctx, func(k int) { c.proposeOne(fmt.Sprintf("p%d-%d", i, k)) })
		c.loop(ctx, func(k int) { c.proposeMany(fmt.Sprintf("m%d-%d", i, k)) })
		c.loop(ctx, func(int) { c.read() })
	}
	c.loop(ctx, func(k int) { c.proposeSession(fmt.Sprintf("s-%d", k)) })
}

func (c *chaos) finish() {
	c.stop()
	c.wg.Wait()
}

func (c *chaos) loop(ctx context.Context, step func(k int)) {
	c.wg.Go(func() {
		for k := 0; ctx.Err() == nil; k++ {
			for c.quiet.Load() && ctx.Err() == nil {
				wait.For(ctx, testTick)
			}
			step(k)
		}
	})
}

// some is a host for one call, and a deadline, which often is too short.
func (c *chaos) some() (*node, *Host, context.Context, context.CancelFunc) {
	n := c.nodes[rand.IntN(len(c.nodes))]
	patience := time.Duration(1+rand.IntN(20)) * time.Millisecond
	if rand.IntN(3) > 0 {
		patience = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	if rand.IntN(10) == 0 {
		cancel()
	}
	return n, n.live.Load(), ctx, cancel
}

// note remembers an outcome. What a host says whose power went meanwhile is not heard.
func (c *chaos) note(n *node, h *Host, text string, err error) bool {
	dark := n.dark.Load() || n.live.Load() != h
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && dark, fault.MayHaveApplied(err):
		c.outcomes[text] = "unknown"
	case err == nil:
		c.outcomes[text] = "acked"
		c.acked.Add(1)
		return true
	case dark:
		c.outcomes[text] = "unknown" // as true as it is, it was never heard
	default:
		c.outcomes[text] = "refused"
	}
	return false
}

func (c *chaos) proposeOne(text string) {
	n, h, ctx, cancel := c.some()
	defer cancel()
	res, err := h.Propose(ctx, c.g, []byte(text))
	if err == nil && string(res.Data) != "did "+text {
		c.t.Errorf("%s: %q", text, res.Data)
	}
	c.note(n, h, text, err)
	if err != nil {
		wait.For(context.Background(), time.Millisecond)
	}
}

func (c *chaos) proposeMany(text string) {
	n, h, ctx, cancel := c.some()
	defer cancel()
	size := 1 + rand.IntN(20)
	if rand.IntN(10) == 0 {
		size = 1100
	}
	var cmds [][]byte
	var run []string
	for i := range size {
		run = append(run, fmt.Sprintf("%s-%d", text, i))
		cmds = append(cmds, []byte(run[i]))
	}
	failed := false
	for i, o := range h.ProposeMany(ctx, c.g, cmds) {
		if o.Err == nil && (string(o.Result.Data) != "did "+run[i] || failed) {
			c.t.Errorf("%s: %q, failed before: %v", run[i], o.Result.Data, failed)
		}
		failed = failed || o.Err != nil
		c.note(n, h, run[i], o.Err)
	}
	c.mu.Lock()
	c.runs = append(c.runs, run)
	c.mu.Unlock()
	wait.For(context.Background(), time.Millisecond)
}

// proposeSession repeats a command in its session until somebody knows.
func (c *chaos) proposeSession(text string) {
	n, h, ctx, cancel := c.some()
	defer cancel()
	s, err := h.OpenSession(ctx, c.g)
	if err != nil {
		wait.For(context.Background(), time.Millisecond)
		return
	}
	var unknown error
	for range 5 {
		_, err = h.ProposeSession(ctx, s, []byte(text))
		if !fault.MayHaveApplied(err) {
			break
		}
		unknown = err
	}
	if err != nil && unknown != nil {
		err = unknown // that the repetition was not applied says nothing of the first
	}
	c.note(n, h, text, err)
}

// read sees at least what was acknowledged before it began.
func (c *chaos) read() {
	_, h, ctx, cancel := c.some()
	defer cancel()
	before := c.acked.Load()
	b, err := h.Read(ctx, c.g, []byte("count"))
	if err != nil {
		wait.For(context.Background(), time.Millisecond)
		return
	}
	c.reads.Add(1)
	if seen, err := strconv.ParseInt(string(b), 10, 64); err != nil || seen < before {
		c.t.Errorf("%d were acknowledged, then %d were read: %v", before, seen, err)
	}
}

// progress waits for acknowledgements.
func (c *chaos) progress() {
	c.t.Helper()
	want, reads := c.acked.Load()+100, c.reads.Load()+20
	require.Eventually(c.t, func() bool { return c.acked.Load() >= want && c.reads.Load() >= reads }, testTimeout, testTick, "the group does not go on")
}

// harm does one thing to the hosts and takes it back.
func (c *chaos) harm() string {
	i, j := c.members()
	n, other := c.nodes[i], c.nodes[j]
	pause := func() { wait.For(context.Background(), time.Duration(c.dice.IntN(300))*time.Millisecond) }
	switch c.dice.IntN(10) {
	case 0:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = n.Transfer(ctx, c.g, c.specs[j].ID)
		return "transfer"
	case 1:
		c.network.Cut(n.id, other.id)
		c.network.Cut(other.id, n.id)
		pause()
		c.network.Heal()
		return "cut"
	case 2:
		n.isolate()
		pause()
		c.network.Heal()
		return "isolate"
	case 3:
		c.network.Drop(0.1)
		c.network.Duplicate(0.3)
		c.network.Reorder(0.3, 20*time.Millisecond)
		pause()
		c.network.Heal()
		return "noise"
	case 4:
		n.crash()
		pause()
		c.back(i)
		return "crash"
	case 5:
		n.powerOff(c.disks[i])
		pause()
		c.back(i)
		return "power"
	case 6:
		for j, m := range c.nodes {
			m.powerOff(c.disks[j])
		}
		c.back(0, 1, 2, 3)
		return "power of all"
	case 7:
		require.NoError(c.t, n.Stop(c.ctx(), c.g))
		pause()
		require.NoError(c.t, n.Start(c.ctx(), c.specs[i]))
		return "stop"
	case 8:
		c.move(i)
		return "move"
	default:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = n.HandOff(ctx)
		return "hand off"
	}
}

// members are two hosts that have a replica.
func (c *chaos) members() (int, int) {
	var in []int
	for i := range c.specs {
		if c.specs[i].ID != 0 {
			in = append(in, i)
		}
	}
	c.dice.Shuffle(len(in), func(a, b int) { in[a], in[b] = in[b], in[a] })
	return in[0], in[1]
}

// move puts a new replica on the host that has none instead of that of another host.
// The power goes in between.
func (c *chaos) move(from int) {
	to := 0
	for c.specs[to].ID != 0 {
		to++
	}
	c.moves++
	s := Replica{Group: c.g, ID: replicaID(c.g, 100) + ids.Replica(c.moves), Name: spec(c.g, 0).Name, Join: true}
	old := c.specs[from].ID
	c.change(Change{Kind: AddObserver, Replica: s.ID, Host: c.nodes[to].id})
	c.specs[to] = s
	require.NoError(c.t, c.nodes[to].Start(c.ctx(), s))
	c.flicker(to)
	c.change(Change{Kind: Promote, Replica: s.ID})
	c.flicker(to)
	c.change(Change{Kind: Remove, Replica: old})
	c.flicker(c.dice.IntN(len(c.nodes)))
	require.NoError(c.t, c.nodes[from].Destroy(c.ctx(), c.g, old))
	c.specs[from].ID = 0
}

// change repeats a change of the membership until it is true.
func (c *chaos) change(what Change) {
	for k := 0; ; k++ {
		n := c.nodes[k%len(c.nodes)]
		if c.specs[k%len(c.nodes)].ID == what.Replica {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		_, err := n.Change(ctx, c.g, what)
		cancel()
		if err == nil {
			return
		}
		require.Less(c.t, k, 100, "%v", err)
		wait.For(context.Background(), 10*testTick)
	}
}

// flicker is a short loss of power, or none.
func (c *chaos) flicker(i int) {
	switch c.dice.IntN(4) {
	case 0:
		c.nodes[i].powerOff(c.disks[i])
		c.back(i)
	case 1:
		for j, m := range c.nodes {
			m.powerOff(c.disks[j])
		}
		c.back(0, 1, 2, 3)
	}
}

// back starts hosts again, with their replicas.
func (c *chaos) back(which ...int) {
	c.network.Heal()
	for _, i := range which {
		c.nodes[i].boot()
	}
	for _, i := range which {
		if s := c.specs[i]; s.ID != 0 {
			s.Unloaded = c.nodes[i].opts.UnloadAfter > 0 && c.dice.IntN(2) == 0
			if err := c.nodes[i].Start(c.ctx(), s); !fault.Is(err, fault.Conflict) {
				require.NoError(c.t, err)
			}
		}
	}
}

// verify holds the outcomes against what each host has.
func (c *chaos) verify() {
	c.t.Helper()
	for i, n := range c.nodes {
		if c.specs[i].ID == 0 {
			continue
		}
		n.catchUp(c.g)
		v, err := n.View(c.ctx(), c.g)
		require.NoError(c.t, err)
		at := make(map[string]int)
		for i, l := range v.([]ledger.Line) {
			_, twice := at[l.Text]
			require.False(c.t, twice, "%s was applied twice", l.Text)
			at[l.Text] = i
		}
		count := make(map[string]int)
		for text, outcome := range c.outcomes {
			count[outcome]++
			_, applied := at[text]
			if outcome == "acked" && !applied || outcome == "refused" && applied {
				require.Fail(c.t, "the outcome was another", "%s: %s, applied: %v", text, outcome, applied)
			}
		}
		for _, run := range c.runs {
			last := -1
			for _, text := range run {
				if i, applied := at[text]; applied {
					if i < last {
						require.Fail(c.t, "out of order", text)
					}
					last = i
				}
			}
		}
		c.t.Logf("%s: %v, %d reads", n.id, count, c.reads.Load())
	}
	c.requireSameSnapshots(c.g)
}

// chaosSteps is how much harm is done: RAFT_CHAOS_STEPS, if set, for long runs.
// RAFT_CHAOS_SEED repeats the choices of a run, though not how its callers interleave.
func chaosSteps(quick int) int {
	if n, err := strconv.Atoi(os.Getenv("RAFT_CHAOS_STEPS")); err == nil {
		return n
	}
	return quick
}

func chaosSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv("RAFT_CHAOS_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Log("seed", seed)
	return seed
}

func TestChaos(t *testing.T) {
	t.Parallel()
	c := newChaos(t, chaosSeed(t), func(o *Options) { o.SnapshotEntries = 100 })
	c.run()
	for range chaosSteps(6) {
		begun := time.Now()
		what := c.harm()
		c.progress()
		t.Logf("%s: %s", what, time.Since(begun).Round(time.Millisecond))
	}
	c.finish()
	c.verify()
}

// The group is idle in between for about as long as makes its hosts unload it.
func TestChaosOfUnloading(t *testing.T) {
	t.Parallel()
	c := newChaos(t, chaosSeed(t), func(o *Options) {
		napping(o)
		o.SnapshotEntries = 100
	})
	c.run()
	for range chaosSteps(4) {
		c.quiet.Store(true)
		wait.For(context.Background(), time.Duration(c.dice.IntN(3000))*time.Millisecond)
		slept := 0
		for _, n := range c.nodes {
			if n.unloaded(c.g) {
				slept++
			}
		}
		what := "nothing"
		if c.dice.IntN(2) == 0 {
			what = c.harm()
		}
		begun := time.Now()
		c.quiet.Store(false)
		c.progress()
		t.Logf("%d unloaded, %s: %s", slept, what, time.Since(begun).Round(time.Millisecond))
	}
	c.finish()
	c.verify()
}
