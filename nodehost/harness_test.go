package nodehost

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/config"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/freeport"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/agent"
	"github.com/drumline/drumline/statemachines"
)

// Locate answers as a drummer does.
func (l locations) Locate(_ context.Context, req *hostpb.LocateRequest) (*hostpb.LocateResponse, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for _, g := range l.d.groups {
		if g.GetName() == req.GetGroup().GetName() || g.GetId() == req.GetGroup().GetId() {
			return &hostpb.LocateResponse{Location: g}, nil
		}
	}
	if req.GetFirstUse() {
		l.d.wanted[req.GetGroup().GetName()]++
		return nil, serve.Status(fault.New(fault.NotOpen, "it is being launched")).Err()
	}
	return nil, serve.Status(fault.New(fault.GroupNotFound, "no such group")).Err()
}

// register is the smallest machine: the last command is the state.
type register struct{ value []byte }

func registerApp() statemachines.App {
	return statemachines.App{Name: "register", Version: 1, New: func(statemachines.Group) statemachines.Machine { return &register{} }}
}

func (r *register) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i, c := range batch {
		r.value = append([]byte(nil), c.Data...)
		results[i] = statemachines.Result{Value: uint64(len(c.Data))}
	}
}

func (r *register) Query([]byte) ([]byte, error) { return append([]byte(nil), r.value...), nil }
func (r *register) Snapshot() statemachines.View { return frozen(r.value) }
func (r *register) Recovered(uint64)             {}

func (r *register) Restore(in io.Reader) (err error) {
	r.value, err = io.ReadAll(in)
	return err
}

type frozen []byte

func (f frozen) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(f)
	return int64(n), err
}
func (frozen) Close() {}

// testHost is a nodehost of a test, running or not.
type testHost struct {
	t    *testing.T
	name string
	cfg  config.NodeHost
	apps *statemachines.Registry

	host *host
	stop context.CancelFunc
	done chan struct{}
	err  error
	// lastID outlives the process.
	lastID string
}

func (h *testHost) id() string { return h.lastID }

// newHost makes a host that knows some drummers, and starts it.
func newHost(t *testing.T, name string, drummers ...string) *testHost {
	apps, err := statemachines.NewRegistry(registerApp(), boardApp())
	require.NoError(t, err)
	at, err := freeport.Addresses(3)
	require.NoError(t, err)
	cfg := config.DefaultNodeHost()
	cfg.Name, cfg.Deployment, cfg.DataDir, cfg.Drummers = name, "test", filepath.Join(t.TempDir(), name), drummers
	// It comes back on the same addresses: with no drummer to ask, peers must be where they were.
	cfg.API, cfg.Raft, cfg.HTTP = config.Listener{Listen: at[0]}, config.Listener{Listen: at[1]}, config.Listener{Listen: at[2]}
	cfg.Tick, cfg.ElectionTicks, cfg.HeartbeatTicks = 10*time.Millisecond, 20, 2
	cfg.BootGrace = patience // with a drummer about, its word is waited for: tests without one have less
	h := &testHost{t: t, name: name, cfg: cfg, apps: apps}
	h.start()
	t.Cleanup(func() { h.halt() })
	return h
}

func (h *testHost) start() {
	h.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("nodehost", h.name)
	}
	o := Options{Config: h.cfg, Apps: h.apps, Log: log, Agent: agent.Options{
		PauseLeast: 5 * time.Millisecond, PauseMost: 100 * time.Millisecond, Patience: time.Second, Silence: 5 * time.Second,
	}}
	h.host = prepare(o)
	require.NoError(h.t, h.host.open())
	h.lastID = string(h.host.dir.Host())
	ctx, cancel := context.WithCancel(context.Background())
	h.stop, h.done = cancel, make(chan struct{})
	host, done := h.host, h.done
	go func() {
		defer close(done)
		h.err = host.finish(host.run(ctx))
	}()
}

// halt stops the host gracefully and waits; twice is fine.
func (h *testHost) halt() error {
	h.stop()
	<-h.done
	return h.err
}

func (h *testHost) restart() {
	h.t.Helper()
	require.NoError(h.t, h.halt())
	h.start()
}

func (h *testHost) awaitBoot() {
	h.t.Helper()
	select {
	case <-h.host.keeper.Booted():
	case <-time.After(patience):
		h.t.Fatalf("%s does not boot", h.name)
	}
}

func (h *testHost) get(path string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://"+h.host.server.HTTPAddr()+path, nil)
	require.NoError(h.t, err)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Do(req)
	require.NoError(h.t, err)
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	require.NoError(h.t, err)
	return r.StatusCode, string(body)
}

func (h *testHost) status() hostStatus {
	h.t.Helper()
	_, body := h.get("/debug/status")
	var s hostStatus
	require.NoError(h.t, json.Unmarshal([]byte(body), &s))
	return s
}

// caller talks to hosts as an application does.
type caller struct {
	t    *testing.T
	pool *serve.Pool
}

func newCaller(t *testing.T) *caller {
	p, err := serve.NewPool(config.TLS{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return &caller{t, p}
}

func (c *caller) groups(h *testHost) hostpb.GroupsClient {
	c.t.Helper()
	conn, err := c.pool.Conn(h.host.server.APIAddr())
	require.NoError(c.t, err)
	return hostpb.NewGroupsClient(conn)
}

func (c *caller) put(h *testHost, group, value string) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, err := c.groups(h).Propose(ctx, &hostpb.ProposeRequest{Group: &hostpb.GroupRef{Name: group}, Command: []byte(value)})
	return err
}

func (c *caller) get(h *testHost, group string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	r, err := c.groups(h).Read(ctx, &hostpb.ReadRequest{Group: &hostpb.GroupRef{Name: group}})
	return string(r.GetData()), err
}

// writer writes ascending values until stopped, and tells the last one acknowledged
// and the longest gap between two.
type writer struct {
	stop    context.CancelFunc
	wg      sync.WaitGroup
	acked   int
	longest time.Duration
	failed  error
}

func (c *caller) write(h *testHost, group string) *writer {
	ctx, cancel := context.WithCancel(c.t.Context())
	w := &writer{stop: cancel}
	w.wg.Go(func() {
		last := time.Now()
		for n := 1; ctx.Err() == nil; n++ {
			if err := c.put(h, group, fmt.Sprint(n)); err != nil {
				w.failed = err
				return
			}
			now := time.Now()
			w.longest = max(w.longest, now.Sub(last))
			w.acked, last = n, now
		}
	})
	return w
}

func (w *writer) end() {
	w.stop()
	w.wg.Wait()
}
