package replicas

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/replicas/tally"
	"github.com/drumline/drumline/statemachines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a busy machine may need for what happens at once.
const patience = 20 * time.Second

// fakeRaft remembers what runs and has data. Set what is to fail before use.
type fakeRaft struct {
	observe func(raft.Event)

	mu       sync.Mutex
	running  map[ids.Group]raft.Replica
	data     map[Key]bool
	status   map[ids.Group]raft.Status
	fail     map[string]error
	calls    []string
	block    chan struct{} // when set, orders wait for it
	inFlight int
	most     int
	changed  func(context.Context) // when set, called by a change
}

// Retire, Forget and Load make it a States too.
func (f *fakeRaft) Retire(_ context.Context, g ids.Group, _ ids.Replica) (uint64, error) {
	return 77, f.call("retire", g)
}

func (f *fakeRaft) Forget(g ids.Group) error { return f.call("forget", g) }

func (f *fakeRaft) Load(_ context.Context, g ids.Group, _ *drummerpb.Load) error {
	return f.call("load", g)
}

func newFakeRaft() *fakeRaft {
	return &fakeRaft{
		running: map[ids.Group]raft.Replica{}, data: map[Key]bool{}, status: map[ids.Group]raft.Status{}, fail: map[string]error{},
	}
}

func (f *fakeRaft) call(name string, g ids.Group) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf("%s %d", name, g))
	return f.fail[name]
}

func (f *fakeRaft) Start(_ context.Context, r raft.Replica) error {
	if err := f.call("start", r.Group); err != nil {
		return err
	}
	f.mu.Lock()
	k := Key{Group: r.Group, Replica: r.ID}
	if !f.data[k] && len(r.Members) == 0 && !r.Join {
		f.mu.Unlock()
		return fault.New(fault.Conflict, "its data is gone")
	}
	f.running[r.Group], f.data[k] = r, true
	f.status[r.Group] = raft.Status{Group: r.Group, Replica: r.ID, Name: r.Name, Ready: true, Observer: r.Join}
	f.mu.Unlock()
	f.observe(raft.Event{Kind: raft.EventReady, Group: r.Group, Replica: r.ID})
	return nil
}

func (f *fakeRaft) Stop(_ context.Context, g ids.Group) error {
	if err := f.call("stop", g); err != nil {
		return err
	}
	f.mu.Lock()
	r := f.running[g]
	delete(f.running, g)
	delete(f.status, g)
	f.mu.Unlock()
	f.observe(raft.Event{Kind: raft.EventStopped, Group: g, Replica: r.ID})
	return nil
}

func (f *fakeRaft) Destroy(_ context.Context, g ids.Group, r ids.Replica) error {
	if err := f.call("destroy", g); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, g)
	delete(f.status, g)
	delete(f.data, Key{Group: g, Replica: r})
	return nil
}

// wait is where orders meet a group that answers slowly.
func (f *fakeRaft) wait(ctx context.Context, name string, g ids.Group) error {
	f.mu.Lock()
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	block := f.block
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inFlight--
		f.mu.Unlock()
	}()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), fault.Deadline, "%s", name)
		}
	}
	return f.call(name, g)
}

func (f *fakeRaft) OpenGroup(ctx context.Context, g ids.Group, _ uint32) error {
	return f.wait(ctx, "open", g)
}

func (f *fakeRaft) SealGroup(ctx context.Context, g ids.Group) error { return f.wait(ctx, "seal", g) }

func (f *fakeRaft) CatchUp(ctx context.Context, g ids.Group) error { return f.wait(ctx, "catch up", g) }

func (f *fakeRaft) RaiseVersion(ctx context.Context, g ids.Group, _ uint32) error {
	return f.wait(ctx, "raise", g)
}

func (f *fakeRaft) Transfer(ctx context.Context, g ids.Group, _ ids.Replica) error {
	return f.wait(ctx, "transfer", g)
}

func (f *fakeRaft) Membership(ctx context.Context, g ids.Group) (raft.Membership, error) {
	return raft.Membership{ConfigChange: 5, Voters: map[ids.Replica]ids.Host{1: "a"}, Removed: []ids.Replica{4}}, f.wait(ctx, "membership", g)
}

func (f *fakeRaft) Change(ctx context.Context, g ids.Group, c raft.Change) (raft.Membership, error) {
	if f.changed != nil {
		f.changed(ctx)
	}
	if c.ConfigChange != 5 {
		return raft.Membership{}, fault.New(fault.Conflict, "the membership has changed")
	}
	return raft.Membership{ConfigChange: 6, Observers: map[ids.Replica]ids.Host{c.Replica: c.Host}}, f.wait(ctx, "change", g)
}

func (f *fakeRaft) Status(g ids.Group) (raft.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.status[g]
	return s, ok
}

func (f *fakeRaft) set(s raft.Status) {
	f.mu.Lock()
	f.status[s.Group] = s
	f.mu.Unlock()
	f.observe(raft.Event{Kind: raft.EventLeader, Group: s.Group, Replica: s.Replica})
}

// office is a Keeper over a real database and a fake raft.
type office struct {
	*Keeper
	t    *testing.T
	path string
	db   *bbolt.DB
	raft *fakeRaft
	stop func()
	err  error
	// unloads is Self.Unloads of the next process.
	unloads bool

	mu      sync.Mutex
	results map[uint64]*drummerpb.OrderResult
	gone    map[Key]bool
	news    chan struct{}
}

func openOffice(t *testing.T) *office {
	o := &office{t: t, path: filepath.Join(t.TempDir(), "host.db"), raft: newFakeRaft()}
	o.open()
	t.Cleanup(func() { o.stop() })
	return o
}

func (o *office) open() {
	o.results, o.gone = map[uint64]*drummerpb.OrderResult{}, map[Key]bool{}
	o.news = make(chan struct{}, 1000)
	db, err := bbolt.Open(o.path, 0o600, &bbolt.Options{Timeout: time.Second})
	require.NoError(o.t, err)
	apps, err := statemachines.NewRegistry(statemachines.App{Name: "kv", Version: 1, New: func(statemachines.Group) statemachines.Machine { return nil }})
	require.NoError(o.t, err)
	k, err := Open(Options{
		Self: Self{Host: me, BootEpoch: 3, RetryAfter: time.Millisecond, RetryMost: 10 * time.Millisecond, Unloads: o.unloads}, DB: db, Raft: o.raft, States: o.raft, Apps: apps,
		Tick: 5 * time.Millisecond, OrderTimeout: 200 * time.Millisecond, Pending: 200, Executes: 4,
		Changed: func(k Key, gone bool) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.gone[k] = gone
		},
	})
	require.NoError(o.t, err)
	o.Keeper, o.db = k, db
	o.raft.observe = k.Observe
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.err = k.Run(ctx)
	}()
	o.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		require.NoError(o.t, db.Close())
	})
}

// restart is a new process: raft forgets what runs and keeps its data.
func (o *office) restart() {
	o.stop()
	data := maps.Clone(o.raft.data)
	o.raft = newFakeRaft()
	o.raft.data = data
	o.open()
}

func (o *office) send(e Ordered) {
	o.Order(e.Order, func(r *drummerpb.OrderResult) {
		o.mu.Lock()
		o.results[r.GetOrder()] = r
		o.mu.Unlock()
		o.news <- struct{}{}
	})
}

// await waits for the result of an order.
func (o *office) await(id uint64) *drummerpb.OrderResult {
	o.t.Helper()
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		r := o.results[id]
		o.mu.Unlock()
		if r != nil {
			return r
		}
		select {
		case <-o.news:
		case <-deadline:
			o.t.Fatalf("order %d is not answered", id)
		}
	}
}

func (o *office) obey(e Ordered) *drummerpb.OrderResult {
	o.t.Helper()
	o.send(e)
	r := o.await(e.Order.GetId())
	require.True(o.t, r.GetOk(), r.GetDetail())
	return r
}

func (o *office) stateOf(k Key) drummerpb.ReplicaState {
	r, _ := o.Report(k)
	return r.GetState()
}

func (o *office) awaitState(k Key, want drummerpb.ReplicaState) {
	o.t.Helper()
	require.Eventually(o.t, func() bool { return o.stateOf(k) == want }, patience, 2*time.Millisecond)
}

const stateOK = drummerpb.ReplicaState_REPLICA_STATE_OK

func TestKeeperRestartsWhatItStarted(t *testing.T) {
	o := openOffice(t)
	a, b := key(1000, 7), key(1001, 8)
	o.Boot()
	<-o.Booted()
	o.obey(order(1, a, launch))
	o.obey(order(2, b, join))
	o.awaitState(a, stateOK)
	o.awaitState(b, stateOK)
	o.restart()
	require.Equal(t, []Key{a, b}, o.Keys(), "the manifest is the truth before anything runs")
	require.Empty(t, o.raft.calls)
	o.Boot()
	<-o.Booted()
	o.awaitState(a, stateOK)
	o.awaitState(b, stateOK)
	o.raft.mu.Lock()
	defer o.raft.mu.Unlock()
	require.Empty(t, o.raft.running[1000].Members, "what has run is never launched again")
	require.True(t, o.raft.running[1001].Join, "once an observer, always started as one")
}

func TestKeeperDoesNotLaunchWhatLostItsData(t *testing.T) {
	o := openOffice(t)
	a := key(1000, 7)
	o.Boot()
	o.obey(order(1, a, launch))
	o.awaitState(a, stateOK)
	o.raft.data = map[Key]bool{}
	o.restart()
	o.Boot()
	<-o.Booted()
	o.awaitState(a, drummerpb.ReplicaState_REPLICA_STATE_DOWN)
	r, _ := o.Report(a)
	require.Contains(t, r.GetDetail(), "its data is gone")
}

func TestKeeperFinishesADestructionAfterARestart(t *testing.T) {
	o := openOffice(t)
	a := key(1000, 7)
	o.Boot()
	o.obey(order(1, a, launch))
	o.awaitState(a, stateOK)
	o.raft.mu.Lock()
	o.raft.fail["destroy"] = errors.New("disk is slow")
	o.raft.mu.Unlock()
	o.send(order(2, a, destroy))
	require.Contains(t, o.await(2).GetDetail(), "disk is slow")
	require.Equal(t, drummerpb.ReplicaState_REPLICA_STATE_REMOVING, o.stateOf(a))
	o.restart()
	o.Boot()
	require.Eventually(t, func() bool { return len(o.Keys()) == 0 }, patience, time.Millisecond)
	o.mu.Lock()
	require.True(t, o.gone[a])
	o.mu.Unlock()
	require.Empty(t, o.raft.data)
	o.send(order(3, a, launch))
	require.True(t, o.await(3).GetRefused())
	require.Equal(t, map[tally.OrderCount]uint64{{Kind: "start", Result: "refused"}: 1}, o.OrderCounts())
}

func TestKeeperCarriesOrdersOut(t *testing.T) {
	o := openOffice(t)
	a := key(1000, 7)
	o.Boot()
	o.obey(order(1, a, launch))
	change := func(kind drummerpb.ChangeKind, seen uint64) orderOpt {
		return func(m *drummerpb.Order) {
			m.Body = &drummerpb.Order_Change{Change: &drummerpb.Change{Kind: kind, Replica: 9, HostId: "h9", ConfigChange: seen}}
		}
	}
	for i, body := range []orderOpt{
		func(m *drummerpb.Order) { m.Body = &drummerpb.Order_Open{Open: &drummerpb.Open{Version: 1}} },
		func(m *drummerpb.Order) { m.Body = &drummerpb.Order_Raise{Raise: &drummerpb.Raise{Version: 2}} },
		func(m *drummerpb.Order) { m.Body = &drummerpb.Order_CatchUp{CatchUp: &drummerpb.CatchUp{}} },
		func(m *drummerpb.Order) { m.Body = &drummerpb.Order_Transfer{Transfer: &drummerpb.Transfer{To: 2}} },
		seal,
	} {
		o.obey(order(uint64(10+i), a, body))
	}
	require.Equal(t, []string{"start 1000", "open 1000", "raise 1000", "catch up 1000", "transfer 1000", "seal 1000"}, o.raft.calls)

	read := o.obey(order(20, a, change(drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED, 0)))
	require.Equal(t, uint64(5), read.GetMembership().GetConfigChange())
	require.Equal(t, []uint64{4}, read.GetMembership().GetRemoved())
	add := o.obey(order(21, a, change(drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER, 5)))
	require.Equal(t, map[uint64]string{9: "h9"}, add.GetMembership().GetObservers())

	o.send(order(22, a, change(drummerpb.ChangeKind_CHANGE_KIND_REMOVE, 4)))
	stale := o.await(22)
	require.True(t, stale.GetRefused(), "the planner saw another membership")
	require.Equal(t, uint64(5), stale.GetMembership().GetConfigChange(), "and is told the one there is")
	o.send(order(23, a, change(77, 5)))
	require.True(t, o.await(23).GetRefused())
}

// A process that stood still between an order and its execution does not make the change any
// more: the time of a change counts from when its order was taken.
func TestKeeperDoesNotMakeALateChange(t *testing.T) {
	o := openOffice(t)
	late := Execute{Order: &drummerpb.Order{Id: 7, Group: 1000, Replica: 1, Body: &drummerpb.Order_Change{Change: &drummerpb.Change{
		Kind: drummerpb.ChangeKind_CHANGE_KIND_REMOVE, Replica: 3, ConfigChange: 5,
	}}}}
	var left []time.Duration
	o.raft.changed = func(ctx context.Context) {
		end, _ := ctx.Deadline()
		left = append(left, time.Until(end))
	}
	o.execute(t.Context(), late, time.Now().Add(-time.Minute))
	o.execute(t.Context(), late, time.Now().Add(time.Minute))
	require.Len(t, left, 2)
	require.Negative(t, left[0])
	require.Positive(t, left[1])
}

func TestKeeperBoundsOrders(t *testing.T) {
	o := openOffice(t)
	o.Boot()
	o.raft.block = make(chan struct{})
	const groups = 20
	for i := range groups {
		o.obey(order(uint64(i+1), key(1000+i, 1), launch))
	}
	for i := range groups {
		o.send(order(uint64(100+i), key(1000+i, 1), seal))
	}
	r := o.await(100) // nobody answers: the deadline ends it
	require.False(t, r.GetOk() || r.GetRefused())
	close(o.raft.block)
	for i := range groups {
		o.await(uint64(100 + i))
	}
	o.raft.mu.Lock()
	require.LessOrEqual(t, o.raft.most, 4)
	o.raft.block = make(chan struct{})
	o.raft.mu.Unlock()
	for i := range 300 {
		o.send(order(uint64(1000+i), key(1000, 1), seal))
	}
	busy := 0
	for i := range 300 {
		if i > 0 { // the first waits for raft
			busy++
			o.await(uint64(1000 + i))
		}
	}
	require.Equal(t, 299, busy)
}

func TestKeeperReports(t *testing.T) {
	o := openOffice(t)
	a := key(1000, 7)
	o.Boot()
	o.obey(order(1, a, launch))
	o.awaitState(a, stateOK)
	s := raft.Status{
		Group: 1000, Replica: 7, Name: "kv/a", Ready: true, Leader: 7, Term: 4, Serving: true,
		ConfigChange: 3, Applied: 99, Opened: true, Version: 2,
	}
	o.raft.set(s)
	o.SetMembership(a, raft.Membership{ConfigChange: 3, Voters: map[ids.Replica]ids.Host{7: me}})
	r, ok := o.Report(a)
	require.True(t, ok)
	require.Equal(t, uint64(3), r.GetMembership().GetConfigChange())
	require.True(t, r.GetServing() && r.GetOpened() && !r.GetSealed())
	require.Equal(t, []any{uint64(7), uint64(4), uint64(99), uint32(2)}, []any{r.GetLeaderReplica(), r.GetTerm(), r.GetApplied(), r.GetVersion()})

	s.ConfigChange = 8
	o.raft.set(s)
	r, _ = o.Report(a)
	require.Nil(t, r.GetMembership(), "the read is older than the newest change")
	s.ConfigChange, s.Serving = 3, false
	o.raft.set(s)
	r, _ = o.Report(a)
	require.Nil(t, r.GetMembership(), "only a leader tells")
	_, ok = o.Report(key(1000, 8))
	require.False(t, ok)
}

func TestKeeperFindsGroupsByName(t *testing.T) {
	o := openOffice(t)
	o.Boot()
	old, fresh := key(1000, 7), key(1005, 9)
	o.obey(order(1, old, launch))
	o.obey(order(2, fresh, join))
	_, ok := o.GroupByName("kv/a")
	require.False(t, ok, "not open")
	o.raft.set(raft.Status{Group: 1000, Replica: 7, Opened: true})
	g, _ := o.GroupByName("kv/a")
	require.Equal(t, old.Group, g)
	o.raft.set(raft.Status{Group: 1005, Replica: 9, Opened: true})
	g, _ = o.GroupByName("kv/a")
	require.Equal(t, fresh.Group, g, "the highest number wins")
	o.raft.set(raft.Status{Group: 1005, Replica: 9, Opened: true, Sealed: true})
	g, _ = o.GroupByName("kv/a")
	require.Equal(t, old.Group, g)
	o.obey(order(3, old, destroy))
	require.Eventually(t, func() bool { _, ok := o.GroupByName("kv/a"); return !ok }, patience, time.Millisecond)
}

func TestKeeperNoticesAReplicaThatStopped(t *testing.T) {
	o := openOffice(t)
	a := key(1000, 7)
	o.Boot()
	o.obey(order(1, a, launch))
	o.awaitState(a, stateOK)
	o.raft.mu.Lock()
	delete(o.raft.status, 1000)
	o.raft.mu.Unlock()
	o.Observe(raft.Event{Kind: raft.EventStopped, Group: 1000, Replica: 7})
	o.awaitState(a, drummerpb.ReplicaState_REPLICA_STATE_DOWN)
}

func TestKeeperStopsWhenTheManifestCannotBeWritten(t *testing.T) {
	o := openOffice(t)
	o.Boot()
	<-o.Booted()
	require.NoError(t, o.db.Close())
	o.send(order(1, key(1000, 7), launch))
	require.Eventually(t, func() bool {
		o.Keeper.mu.Lock()
		defer o.Keeper.mu.Unlock()
		return o.Keeper.stopped
	}, patience, time.Millisecond)
	o.stop()
	require.ErrorContains(t, o.err, "manifest: write")
	require.Empty(t, o.raft.calls, "nothing runs that is not on disk")
}
