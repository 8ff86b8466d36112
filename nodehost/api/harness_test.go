package api_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/api"
	"github.com/drumline/drumline/nodehost/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeRouter answers as it is told and keeps what it was asked.
type fakeRouter struct {
	mu    sync.Mutex
	asked []any // guarded by mu

	err     error
	propose *hostpb.ProposeResponse
	read    *hostpb.ReadResponse
}

func note[T any](f *fakeRouter, req any, answer T) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, req)
	if f.err != nil {
		var none T
		return none, f.err
	}
	return answer, nil
}

func (f *fakeRouter) Propose(_ context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	return note(f, req, f.propose)
}

func (f *fakeRouter) Read(_ context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	return note(f, req, f.read)
}

func (f *fakeRouter) ProposeMany(_ context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	resp, err := note(f, m, f.propose)
	out := make([]route.Outcome, len(m.Items))
	for i := range out {
		out[i].Result.Value, out[i].Result.Data, out[i].Err = resp.GetValue(), resp.GetData(), err
	}
	return out, resp.GetLeader()
}

func (f *fakeRouter) ReadMany(_ context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	resp, err := note(f, m, f.read)
	out := make([]route.Outcome, len(m.Items))
	for i := range out {
		out[i].Result.Data, out[i].Err = resp.GetData(), err
	}
	return out, resp.GetLeader()
}

func (f *fakeRouter) Self() ids.Host { return "self" }

func (f *fakeRouter) OpenSession(_ context.Context, req *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error) {
	s := &hostpb.Session{Group: req.GetGroup().GetId(), Client: 7, Series: 1}
	return note(f, req, &hostpb.OpenSessionResponse{Session: s})
}

func (f *fakeRouter) CloseSession(_ context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error) {
	return note(f, req, &hostpb.CloseSessionResponse{})
}

func (f *fakeRouter) Locate(_ context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	return note(f, ref, &hostpb.Location{Name: ref.GetName(), Id: 1000})
}

func (f *fakeRouter) LocateHere(_ context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	return note(f, ref, &hostpb.Location{Name: ref.GetName(), Id: 1001})
}

func (f *fakeRouter) Servers(context.Context) ([]*hostpb.Server, error) {
	return note(f, "servers", []*hostpb.Server{{Kind: "drummer"}})
}

// last is what the router was asked last, nil if nothing since the last call.
func (f *fakeRouter) last() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		return nil
	}
	req := f.asked[len(f.asked)-1]
	f.asked = nil
	return req
}

// serveRouter serves all services over a Router and returns a connection to them.
func serveRouter(t testing.TB, r api.Router, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	return servetest.Dial(t, func(s *servetest.Server) { api.Register(s, api.Options{Router: r}) }, opts...)
}

// within gives a test a deadline.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// said makes a fault.
func said(reason fault.Reason) error { return fault.New(reason, "said %s", reason).InGroup("kv/x") }
