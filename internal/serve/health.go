package serve

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// healthPoll is how soon a watcher of the health service learns of a change; a
// Check asks anew each time.
const healthPoll = 250 * time.Millisecond

// errStopping is why a stopping server is not ready.
var errStopping = errors.New("the server is stopping")

// healthServer is grpc.health.v1 over one readiness function.
type healthServer struct {
	*health.Server
	ready    func() error
	stopping atomic.Bool
	services []string // set by register, before the server answers
}

var _ healthpb.HealthServer = (*healthServer)(nil)

func newHealth(ready func() error) *healthServer {
	return &healthServer{Server: health.NewServer(), ready: ready}
}

// register adds the health service, for itself and every service registered so far.
func (h *healthServer) register(s *grpc.Server) {
	for name := range s.GetServiceInfo() {
		h.services = append(h.services, name)
	}
	healthpb.RegisterHealthServer(s, h)
	h.refresh()
}

// refresh sets what the library's server tells.
func (h *healthServer) refresh() {
	state := healthpb.HealthCheckResponse_SERVING
	if h.ready() != nil {
		state = healthpb.HealthCheckResponse_NOT_SERVING
	}
	for _, name := range h.services {
		h.SetServingStatus(name, state)
	}
}

// Check answers from the readiness of this moment.
func (h *healthServer) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	h.refresh()
	return h.Server.Check(ctx, req) //nolint:wrapcheck // it is a status
}

// List answers from the readiness of this moment.
func (h *healthServer) List(ctx context.Context, req *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	h.refresh()
	return h.Server.List(ctx, req) //nolint:wrapcheck // it is a status
}

// watch keeps watchers informed until ctx ends.
func (h *healthServer) watch(ctx context.Context) {
	poll := time.NewTicker(healthPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			h.refresh()
		}
	}
}

// stop turns readiness and health off for good.
func (h *healthServer) stop() {
	h.stopping.Store(true)
	h.Shutdown()
}

// ready is the server's readiness: its own checks, and that it does not stop.
func (s *Server) ready() error {
	if s.health.stopping.Load() {
		return errStopping
	}
	if s.opts.Ready == nil {
		return nil
	}
	return s.opts.Ready()
}

// serving is what clients are told.
func (s *Server) serving() error {
	if s.opts.Serving == nil || s.health.stopping.Load() {
		return s.ready()
	}
	return s.opts.Serving()
}
