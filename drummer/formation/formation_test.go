package formation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// net is a network of formations in memory; addresses are a1, a2, ...
type network struct {
	t    *testing.T
	size int
	mu   sync.Mutex
	up   map[string]*Formation
	// after runs between a question's answer and its arrival.
	after func(from, to string)
}

func newNetwork(t *testing.T, size int) *network {
	return &network{t: t, size: size, up: map[string]*Formation{}}
}

func address(i int) string { return fmt.Sprintf("a%d", i) }

func (n *network) addresses() []string {
	var list []string
	for i := 1; i <= n.size; i++ {
		list = append(list, address(i))
	}
	return list
}

// disk is a data directory: a host id and a database that outlive a process.
type disk struct {
	host  ids.Host
	db    *bbolt.DB
	epoch uint64
}

func (n *network) disk(host string) *disk {
	db, err := bbolt.Open(filepath.Join(n.t.TempDir(), "host.db"), 0o600, &bbolt.Options{NoSync: true})
	require.NoError(n.t, err)
	n.t.Cleanup(func() { require.NoError(n.t, db.Close()) })
	return &disk{host: ids.Host(host), db: db}
}

// process makes a Formation that is not reachable yet.
func (n *network) process(i int, d *disk) (*Formation, *book, error) {
	d.epoch++
	b := &book{raft: map[ids.Host]string{}}
	f, err := New(Options{
		Deployment: "test",
		Self:       Identity{Index: i, Host: d.host, BootEpoch: d.epoch, Raft: fmt.Sprintf("raft-%d-%d", i, d.epoch), Name: fmt.Sprintf("drummer-%d", i)},
		Drummers:   n.addresses(), DB: d.db, Learn: b.learn, Retry: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Conn: func(to string) (grpc.ClientConnInterface, error) { return &pipe{n: n, from: address(i), to: to}, nil },
	})
	return f, b, err
}

func (n *network) start(i int, d *disk) (*Formation, *book) {
	f, b, err := n.process(i, d)
	require.NoError(n.t, err)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up[address(i)] = f
	return f, b
}

func (n *network) stop(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.up, address(i))
}

// pipe carries one question through protobuf, like the wire.
type pipe struct {
	n        *network
	from, to string
}

func (p *pipe) Invoke(ctx context.Context, _ string, args, reply any, _ ...grpc.CallOption) error {
	p.n.mu.Lock()
	f, after := p.n.up[p.to], p.n.after
	p.n.mu.Unlock()
	if f == nil {
		return errors.New("connection refused")
	}
	resp, err := f.Form(ctx, proto.CloneOf(args.(*drummerpb.FormRequest)))
	if err != nil {
		return err
	}
	if after != nil {
		after(p.from, p.to)
	}
	proto.Merge(reply.(proto.Message), resp)
	return nil
}

func (p *pipe) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams here")
}

type book struct {
	mu   sync.Mutex
	raft map[ids.Host]string
}

func (b *book) learn(h ids.Host, raft string, _ uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.raft[h] = raft
	return nil
}

func (b *book) of(h ids.Host) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.raft[h]
}

// agree runs Agree of each at once and returns the maps.
func agree(t *testing.T, fs ...*Formation) []Members {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	maps, errs := make([]Members, len(fs)), make([]error, len(fs))
	var wg sync.WaitGroup
	for i, f := range fs {
		wg.Go(func() { maps[i], errs[i] = f.Agree(ctx) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	return maps
}

func TestThreeNewDrummersAgree(t *testing.T) {
	n := newNetwork(t, 3)
	f3, _ := n.start(3, n.disk("c"))
	f1, b1 := n.start(1, n.disk("a"))
	f2, _ := n.start(2, n.disk("b"))
	want := Members{1: "a", 2: "b", 3: "c"}
	require.Equal(t, []Members{want, want, want}, agree(t, f1, f2, f3))
	require.Equal(t, "raft-2-1", b1.of("b"))
	require.Equal(t, "drummer-3", f1.Peer(3).Name)
	require.Equal(t, Identity{Index: 2, Host: "b", BootEpoch: 1, Raft: "raft-2-1", Name: "drummer-2"}, f1.Peer(2))
}

func TestOneDrummerAlone(t *testing.T) {
	n := newNetwork(t, 1)
	f, _ := n.start(1, n.disk("a"))
	require.Equal(t, []Members{{1: "a"}}, agree(t, f))
}

func TestNobodyDecidesWhileOneIsMissing(t *testing.T) {
	n := newNetwork(t, 3)
	f1, _ := n.start(1, n.disk("a"))
	f2, _ := n.start(2, n.disk("b"))
	for range 5 {
		_, err := f1.round(t.Context())
		require.NoError(t, err)
		_, err = f2.round(t.Context())
		require.NoError(t, err)
	}
	_, formed := f1.Members()
	require.False(t, formed)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := f2.Agree(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "drummer 3 at a3")
}

func TestARestartedDrummerNeedsNobody(t *testing.T) {
	n := newNetwork(t, 3)
	d1 := n.disk("a")
	f1, _ := n.start(1, d1)
	f2, _ := n.start(2, n.disk("b"))
	f3, _ := n.start(3, n.disk("c"))
	agree(t, f1, f2, f3)
	n.stop(2)
	n.stop(3)
	again, _ := n.start(1, d1)
	require.Equal(t, []Members{{1: "a", 2: "b", 3: "c"}}, agree(t, again))
	require.Equal(t, "drummer-2", again.Peer(2).Name, "names are kept on disk")
}

func TestALostDiskIsRefused(t *testing.T) {
	for lost := 1; lost <= 3; lost++ {
		t.Run(fmt.Sprint("drummer ", lost), func(t *testing.T) {
			n := newNetwork(t, 3)
			f1, _ := n.start(1, n.disk("a"))
			f2, _ := n.start(2, n.disk("b"))
			f3, _ := n.start(3, n.disk("c"))
			agree(t, f1, f2, f3)
			n.stop(lost%3 + 1) // one of the others is down, one is enough to know
			wiped, _ := n.start(lost, n.disk("new"))
			_, err := wiped.Agree(t.Context())
			var lostErr *LostError
			require.ErrorAs(t, err, &lostErr)
			require.Equal(t, lost, lostErr.Index)
			require.Equal(t, ids.Host("new"), lostErr.Is)
			require.ErrorContains(t, err, "can't vote again")
		})
	}
}

func TestAnotherDrummersDirectoryIsRefused(t *testing.T) {
	n := newNetwork(t, 3)
	d2 := n.disk("b")
	f1, _ := n.start(1, n.disk("a"))
	f2, _ := n.start(2, d2)
	f3, _ := n.start(3, n.disk("c"))
	agree(t, f1, f2, f3)
	_, _, err := n.process(3, d2)
	require.ErrorContains(t, err, "as drummer 3")

	n.size = 5
	_, _, err = n.process(2, d2)
	require.NoError(t, err, "who is a member knows it from its disk: others may have come since")
	fresh, _, err := n.process(2, n.disk("x"))
	require.NoError(t, err)
	_, err = fresh.Agree(t.Context())
	require.ErrorContains(t, err, "another number of drummers")
	_, _, err = n.process(6, d2)
	require.ErrorContains(t, err, "not among the 5")
}

// A drummer whose answer is still on its way loses its disk: what it said must not
// become part of the map.
func TestADiskLostWhileDeciding(t *testing.T) {
	n := newNetwork(t, 3)
	f1, _ := n.start(1, n.disk("a"))
	n.start(3, n.disk("c"))
	n.start(2, n.disk("b"))
	var second *Formation
	n.after = func(from, to string) {
		if from != "a1" || to != "a2" || second != nil {
			return
		}
		second, _ = n.start(2, n.disk("b2"))
		_, err := second.ask(t.Context(), 1)
		require.NoError(t, err)
	}
	_, err := f1.round(t.Context())
	require.NoError(t, err)
	_, formed := f1.Members()
	require.False(t, formed, "drummer 1 must not decide with the id that drummer 2 lost")
	n.after = nil
	require.Equal(t, Members{1: "a", 2: "b2", 3: "c"}, agree(t, f1, second)[0])
}

// Drummer 1 decides, answers drummer 2, loses its disk and asks anew, all before
// its answer arrives: drummer 2 must not adopt the old map after it has told the
// new drummer 1 that there is none.
func TestTheDecidersDiskLostWhileItsAnswerIsOnTheWay(t *testing.T) {
	n := newNetwork(t, 2)
	f1, _ := n.start(1, n.disk("a"))
	f2, _ := n.start(2, n.disk("b"))
	agree(t, f1)
	var second *Formation
	n.after = func(from, to string) {
		if from == "a2" && to == "a1" && second == nil {
			second, _ = n.start(1, n.disk("a2nd"))
			n.after = nil
			agree(t, second)
		}
	}
	_, err := f2.round(t.Context())
	require.NoError(t, err)
	want := Members{1: "a2nd", 2: "b"}
	require.Equal(t, []Members{want, want}, agree(t, second, f2))
}

func TestFormRefusesStrangersAndMistakes(t *testing.T) {
	n := newNetwork(t, 3)
	f, _ := n.start(1, n.disk("a"))
	good := func() *drummerpb.FormRequest {
		return &drummerpb.FormRequest{Deployment: "test", Index: 2, HostId: "b", Raft: "r", BootEpoch: 1}
	}
	_, err := f.Form(t.Context(), good())
	require.NoError(t, err)
	for name, spoil := range map[string]func(*drummerpb.FormRequest){
		"empty":            func(r *drummerpb.FormRequest) { proto.Reset(r) },
		"other deployment": func(r *drummerpb.FormRequest) { r.Deployment = "prod" },
		"index 0":          func(r *drummerpb.FormRequest) { r.Index = 0 },
		"index beyond":     func(r *drummerpb.FormRequest) { r.Index = 4 },
		"index huge":       func(r *drummerpb.FormRequest) { r.Index = 1<<32 - 1 },
		"own index":        func(r *drummerpb.FormRequest) { r.Index = 1 },
		"own id":           func(r *drummerpb.FormRequest) { r.HostId = "a" },
		"no id":            func(r *drummerpb.FormRequest) { r.HostId = "" },
		"no address":       func(r *drummerpb.FormRequest) { r.Raft = "" },
		"huge":             func(r *drummerpb.FormRequest) { r.Name = string(make([]byte, 1<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			spoil(r)
			_, err := f.Form(t.Context(), r)
			require.True(t, fault.Is(err, fault.Invalid), "%v", err)
		})
	}
}

func TestCopiedDirectoriesAreRefused(t *testing.T) {
	n := newNetwork(t, 3)
	f1, _ := n.start(1, n.disk("a"))
	n.start(2, n.disk("same"))
	n.start(3, n.disk("same"))
	_, err := f1.Agree(t.Context())
	require.ErrorContains(t, err, "copy")
}

func TestStartedIsKept(t *testing.T) {
	n := newNetwork(t, 1)
	d := n.disk("a")
	f, _ := n.start(1, d)
	started, err := f.Started()
	require.NoError(t, err)
	require.False(t, started)
	agree(t, f)
	require.NoError(t, f.MarkStarted())
	f, _ = n.start(1, d)
	started, err = f.Started()
	require.NoError(t, err)
	require.True(t, started)
}

// Kills at any point, in any order, with any delay: whoever has a map has the same.
func TestAnyKillsLeaveOneMap(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := newNetwork(t, 3)
		disks := []*disk{n.disk("a"), n.disk("b"), n.disk("c")}
		procs := make([]*Formation, 3)
		for range 40 {
			i := rng.IntN(3)
			switch {
			case procs[i] == nil:
				procs[i], _ = n.start(i+1, disks[i])
			case rng.IntN(3) == 0:
				procs[i] = nil
				n.stop(i + 1)
			default:
				_, err := procs[i].round(t.Context())
				require.NoError(t, err)
			}
		}
		for i := range procs {
			procs[i], _ = n.start(i+1, disks[i])
		}
		for _, m := range agree(t, procs...) {
			require.Equal(t, Members{1: "a", 2: "b", 3: "c"}, m)
		}
	}
}
