package states

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/statefile"
	"github.com/drumline/drumline/statemachines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// view is a state of bytes.
type view []byte

func (v view) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(v)
	return int64(n), err
}
func (view) Close() {}

// fakeRaft has one group with a state, and takes a load into another.
type fakeRaft struct {
	state  []byte
	status raft.Status
	loaded []byte
	opened []raft.Loaded
	refuse error
}

func (f *fakeRaft) facts() machine.Facts {
	return machine.Facts{Applied: 70, Commands: 60, Opened: true, Version: 1, Generation: 4}
}

func (f *fakeRaft) State(context.Context, ids.Group) (raft.State, error) {
	return raft.State{Facts: f.facts(), Name: "kv/a", View: view(f.state)}, f.refuse
}

func (f *fakeRaft) Facts(_ context.Context, g ids.Group) (machine.Facts, bool) {
	return f.facts(), g == 1000
}

func (f *fakeRaft) Retire(_ context.Context, _ ids.Group, keep func(raft.State) error) error {
	return keep(raft.State{Facts: f.facts(), Name: "kv/a", View: view(f.state)})
}

func (f *fakeRaft) LoadGroup(_ context.Context, _ ids.Group, r io.Reader) (err error) {
	f.loaded, err = io.ReadAll(r)
	return errors.Join(err, f.refuse)
}

func (f *fakeRaft) OpenLoaded(_ context.Context, _ ids.Group, l raft.Loaded) error {
	f.opened = append(f.opened, l)
	return nil
}

func (f *fakeRaft) Status(g ids.Group) (raft.Status, bool) { return f.status, g != 1001 }

func (f *fakeRaft) Voters(ids.Group) map[ids.Replica]ids.Host {
	return map[ids.Replica]ids.Host{7: "me", 8: "you"}
}

// host is a States on a port.
type host struct {
	*States
	raft *fakeRaft
	addr string
	conn *grpc.ClientConn
}

// Dial makes host a Dialer that knows one other host.
func (h *host) Dial(context.Context, string) (*grpc.ClientConn, error) { return h.conn, nil }

func newHost(t *testing.T, dir string) *host {
	apps, err := statemachines.NewRegistry(
		statemachines.App{Name: "kv", Version: 2, New: func(statemachines.Group) statemachines.Machine { return nil }},
		statemachines.App{
			Name: "sequence", Version: 1, New: func(statemachines.Group) statemachines.Machine { return nil },
			Resume: func(margin uint64) ([]byte, error) { return fmt.Append(nil, "resume ", margin), nil },
		})
	require.NoError(t, err)
	h := &host{raft: &fakeRaft{state: bytes.Repeat([]byte("state"), 100_000), status: raft.Status{Replica: 7, Name: "kv/b", Serving: true, Leader: 7}}}
	h.States, err = Open(Options{Self: "me", Fleet: func() string { return "fleet" }, Dir: dir, Raft: h.raft, Apps: apps, Pool: h})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	h.Register(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	h.addr = l.Addr().String()
	h.conn, err = grpc.NewClient("passthrough:///"+h.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, h.conn.Close())
		server.Stop()
		<-done
	})
	return h
}

// stage puts a state of an app on the host.
func (h *host) stage(t *testing.T, header *statepb.Header, state []byte) string {
	stream, err := statepb.NewStatesClient(h.conn).Stage(t.Context())
	require.NoError(t, err)
	w, err := statefile.NewWriter(header, stream.Send)
	require.NoError(t, err)
	_, err = w.Write(state)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	resp, err := stream.CloseAndRecv()
	require.NoError(t, err)
	require.Equal(t, "me", resp.GetHostId())
	return resp.GetStaged()
}

func TestAGroupIsLoadedFromWhereverItsStateIs(t *testing.T) {
	h := newHost(t, t.TempDir())
	applied, err := h.Retire(t.Context(), 1000, 7)
	require.NoError(t, err)
	require.EqualValues(t, 70, applied)
	staged := h.stage(t, &statepb.Header{Name: "kv/x", App: "kv", Version: 2, Generation: 9000}, []byte("from a file"))
	for name, c := range map[string]struct {
		load       *drummerpb.Load
		want       []byte
		generation uint64
		version    uint32
	}{
		"live, elsewhere":    {&drummerpb.Load{HostId: "you", Group: 1000, Version: 1, Generation: 1002}, h.raft.state, 1002, 1},
		"retired, here":      {&drummerpb.Load{HostId: "me", Group: 1000, Retired: true, Version: 1, Generation: 1002}, h.raft.state, 1002, 1},
		"retired, elsewhere": {&drummerpb.Load{HostId: "you", Group: 1000, Retired: true, Version: 1, Generation: 1002}, h.raft.state, 1002, 1},
		"staged, of a later life and a newer program": {&drummerpb.Load{HostId: "me", Staged: staged, Version: 1, Generation: 1002}, []byte("from a file"), 9001, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h.raft.loaded, h.raft.opened = nil, nil
			require.NoError(t, h.Load(t.Context(), 1002, c.load))
			require.True(t, bytes.Equal(c.want, h.raft.loaded))
			require.Equal(t, []raft.Loaded{{Version: c.version, Generation: c.generation}}, h.raft.opened, "kv waits for no word")
		})
	}
	left, err := filepath.Glob(filepath.Join(h.store.dir, temporary+"*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestAMachineThatWaitsIsResumed(t *testing.T) {
	h := newHost(t, t.TempDir())
	h.raft.status.Name = "sequence/b"
	staged := h.stage(t, &statepb.Header{Name: "sequence/a", App: "sequence", Version: 1}, []byte("numbers"))
	load := &drummerpb.Load{HostId: "me", Staged: staged, Version: 1, Generation: 1002, Margin: 55}
	require.NoError(t, h.Load(t.Context(), 1002, load))
	want := []raft.Loaded{{Version: 1, Generation: 1002, First: []byte("resume 55")}}
	require.Equal(t, want, h.raft.opened, "in the same entry: a host that dies leaves no sequence closed")
	h.raft.status.Opened = true
	require.NoError(t, h.Load(t.Context(), 1002, load), "a group that is open is left as it is")
	require.Len(t, h.raft.opened, 1)
}

func TestWhatIsNotLoaded(t *testing.T) {
	h := newHost(t, t.TempDir())
	other := h.stage(t, &statepb.Header{Name: "sequence/a", App: "sequence"}, nil)
	newer := h.stage(t, &statepb.Header{Name: "kv/a", App: "kv", Version: 3}, nil)
	for name, c := range map[string]struct {
		group  ids.Group
		load   *drummerpb.Load
		reason fault.Reason
	}{
		"not here":               {1001, &drummerpb.Load{HostId: "me", Staged: other}, fault.Unavailable},
		"of another app":         {1002, &drummerpb.Load{HostId: "me", Staged: other}, fault.Invalid},
		"of a newer program":     {1002, &drummerpb.Load{HostId: "me", Staged: newer}, fault.Unavailable},
		"nowhere":                {1002, &drummerpb.Load{HostId: "me", Staged: "NOWHERE"}, fault.Conflict},
		"outside the directory":  {1002, &drummerpb.Load{HostId: "me", Staged: "../x"}, fault.Invalid},
		"of nobody that retired": {1002, &drummerpb.Load{HostId: "me", Group: 1000, Retired: true}, fault.Conflict},
	} {
		err := h.Load(t.Context(), c.group, c.load)
		require.True(t, fault.Is(err, c.reason), "%s: %v", name, err)
		require.Nil(t, h.raft.loaded, name)
	}
	h.raft.status.Serving = false
	require.True(t, fault.Is(h.Load(t.Context(), 1002, &drummerpb.Load{HostId: "me", Staged: other}), fault.NotLeader))
}

func TestStagedStatesAreKeptForADay(t *testing.T) {
	dir := t.TempDir()
	h := newHost(t, dir)
	old := h.stage(t, &statepb.Header{Name: "kv/a", App: "kv"}, []byte("old"))
	young := h.stage(t, &statepb.Header{Name: "kv/a", App: "kv"}, []byte("young"))
	_, err := h.Retire(t.Context(), 1000, 7)
	require.NoError(t, err)
	long := time.Now().Add(-2 * stagedFor)
	for _, name := range []string{stagedPrefix + old, retiredName(1000)} {
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), long, long))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, temporary+"1"), nil, 0o600))
	h = newHost(t, dir)
	_, _, err = h.store.open(stagedPrefix + old)
	require.True(t, fault.Is(err, fault.Conflict))
	_, f, err := h.store.open(stagedPrefix + young)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoFileExists(t, filepath.Join(dir, temporary+"1"))
	require.FileExists(t, filepath.Join(dir, retiredName(1000)), "that of a retired replica stays")
	require.NoError(t, h.Forget(1000))
	require.NoError(t, h.Forget(1000), "twice is fine")
	require.NoFileExists(t, filepath.Join(dir, retiredName(1000)))
}

func TestStatesAreStagedBesideOneAnother(t *testing.T) {
	h := newHost(t, t.TempDir())
	var staged string
	require.NoError(t, h.store.write("slow", func(send func(*statepb.Piece) error) error {
		staged = h.stage(t, &statepb.Header{Name: "kv/a", App: "kv"}, []byte("begins and ends meanwhile"))
		w, err := statefile.NewWriter(&statepb.Header{Name: "kv/b", App: "kv"}, send)
		if err != nil {
			return err
		}
		return w.Close()
	}))
	require.FileExists(t, filepath.Join(h.store.dir, stagedPrefix+staged))
	require.FileExists(t, filepath.Join(h.store.dir, "slow"))
}

func TestADamagedStateIsNotStaged(t *testing.T) {
	h := newHost(t, t.TempDir())
	stream, err := statepb.NewStatesClient(h.conn).Stage(t.Context())
	require.NoError(t, err)
	_, err = statefile.NewWriter(&statepb.Header{Name: "kv/a"}, stream.Send)
	require.NoError(t, err)
	_, err = stream.CloseAndRecv() // no trailer
	require.ErrorContains(t, err, "cut short")
	left, err := os.ReadDir(h.store.dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestLookTellsHowFarReplicasAre(t *testing.T) {
	h := newHost(t, t.TempDir())
	resp, err := h.Look(t.Context(), &statepb.LookRequest{Groups: []uint64{1000, 1001}})
	require.NoError(t, err)
	require.Equal(t, "me", resp.GetHostId())
	require.Len(t, resp.GetLooks(), 1)
	require.EqualValues(t, 70, resp.GetLooks()[0].GetApplied())
	require.Equal(t, map[uint64]string{7: "me", 8: "you"}, resp.GetLooks()[0].GetVoters())

	_, err = h.Retire(t.Context(), 1001, 9)
	require.NoError(t, err)
	resp, err = h.Look(t.Context(), &statepb.LookRequest{Groups: []uint64{1001}})
	require.NoError(t, err)
	require.Len(t, resp.GetLooks(), 1)
	require.True(t, resp.GetLooks()[0].GetRetired())
	require.EqualValues(t, 9, resp.GetLooks()[0].GetReplica())
	_, err = h.Look(t.Context(), &statepb.LookRequest{Groups: make([]uint64, maxLooks+1)})
	require.True(t, fault.Is(err, fault.Invalid))
	for _, bad := range []*statepb.ReadRequest{{}, {Group: 1, Staged: "X"}} {
		require.True(t, fault.Is(h.Read(bad, nil), fault.Invalid))
	}
}
