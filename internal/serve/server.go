package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/drumline/drumline/config"
)

// MaxMessage bounds every gRPC message, both ways: 4 MiB of payload, and the
// envelope around it.
const MaxMessage = 4<<20 + 64<<10

// Limits of a port. They keep a careless or hostile client from taking the server
// down, and are far above what our own clients do.
const (
	maxStreams        = 1024 // calls in flight on one connection; hosts forward all theirs on one
	streamWorkers     = 256  // goroutines kept for calls; more calls at a time get one of their own
	maxHeaders        = 16 << 10
	streamWindow      = 4 << 20  // of one call, what may come in before it is taken: the largest message
	connectionWindow  = 16 << 20 // of all calls of a connection
	connectionTimeout = 5 * time.Second
	connectionAge     = time.Hour // then a client reconnects, and a replaced certificate bites
	minPing           = time.Second
	pingAfter         = 10 * time.Second
	pingTimeout       = 5 * time.Second
	defaultStop       = 10 * time.Second
)

// Authorizer decides whether the caller may call the method (/package.Service/Method);
// the context carries the peer's certificate. A nil error allows.
type Authorizer func(ctx context.Context, method string) error

// Options of a Server.
type Options struct {
	// Kind is drummer or nodehost; Name is the process's.
	Kind, Name string
	// API and HTTP are the ports; an empty HTTP.Listen leaves that one out.
	API, HTTP config.Listener
	// APIListener and HTTPListener are ports bound already, instead of binding
	// API.Listen and HTTP.Listen. The Server closes them.
	APIListener, HTTPListener net.Listener
	// TLS of both ports.
	TLS config.TLS
	// Log may be nil.
	Log *slog.Logger
	// Metrics is served on /metrics and gets the server's own; nil makes one.
	Metrics *prometheus.Registry
	// Authorize may be nil: everything is allowed.
	Authorize Authorizer
	// Ready returns nil when the server can serve, else why not; nil is always ready.
	Ready func() error
	// Serving, unless nil, is asked by grpc's health instead of Ready: it may be so
	// while the server still gets ready.
	Serving func() error
	// OnStop runs when stopping begins, while calls are still answered: the place
	// to hand leadership away and to end long streams. May be nil.
	OnStop func(context.Context)
	// StopTimeout bounds a graceful stop; 0 means 10 s.
	StopTimeout time.Duration
}

// Server is the two ports of a process.
type Server struct {
	opts  Options
	log   *slog.Logger
	certs *config.Certificates // nil without TLS
	grpc  *grpc.Server
	calls *callMetrics
	// refused counts handshakes that failed, by port.
	refused *prometheus.CounterVec
	health  *healthServer
	mux     *http.ServeMux
	http    *http.Server
	api     net.Listener
	web     net.Listener // nil without an HTTP port
	stop    Stack        // what NewServer acquired
}

// NewServer binds the ports, so that their addresses are known; nothing is
// answered before Serve. Without a Serve, Close frees them.
func NewServer(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = defaultStop
	}
	s := &Server{opts: o, log: o.Log, mux: http.NewServeMux()}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.stop.Drain())
	}
	return s, nil
}

func (s *Server) open() (err error) {
	if s.certs, err = s.opts.TLS.Load(); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	if s.api, err = s.bind("api", s.opts.APIListener, s.opts.API.Listen); err != nil {
		return err
	}
	if s.opts.HTTP.Listen != "" || s.opts.HTTPListener != nil {
		if s.web, err = s.bind("http", s.opts.HTTPListener, s.opts.HTTP.Listen); err != nil {
			return err
		}
	}
	s.health = newHealth(s.serving)
	if err := s.registerMetrics(); err != nil {
		return err
	}
	s.grpc = grpc.NewServer(s.grpcOptions()...)
	// Its workers are there before Serve.
	s.stop.Push("gRPC workers", func() error { s.grpc.Stop(); return nil })
	s.http = s.newHTTP()
	return nil
}

func (s *Server) bind(name string, given net.Listener, addr string) (net.Listener, error) {
	l := given
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", addr); err != nil {
			return nil, fmt.Errorf("%s.listen %s: %w", name, addr, err)
		}
	}
	s.stop.Push(name+" port", func() error { return ignoreClosed(l.Close()) })
	return l, nil
}

// ignoreClosed drops the error of a second Close: gRPC and HTTP close what they serve.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Server) grpcOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		// A handler's stack grows deep; one that was used before has that behind it.
		grpc.NumStreamWorkers(streamWorkers),
		// Fixed windows: gRPC's estimate of a connection costs a ping and its answer for every
		// round trip, as much as a small call's own frames.
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout, MaxConnectionAge: connectionAge}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	}
	if s.certs != nil {
		opts = append(opts, grpc.Creds(counted{credentials.NewTLS(s.certs.Server()), s.refused.WithLabelValues(portAPI)}))
	}
	return opts
}

// GRPC is where services are registered, before Serve.
func (s *Server) GRPC() grpc.ServiceRegistrar { return s.grpc }

// Handle adds a handler to the HTTP port, before Serve; patterns are those of
// http.ServeMux.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// APIAddr is the gRPC address that others are told.
func (s *Server) APIAddr() string { return advertised(s.opts.API, s.api) }

// HTTPAddr is the HTTP address that others are told; empty without that port.
func (s *Server) HTTPAddr() string { return advertised(s.opts.HTTP, s.web) }

func advertised(c config.Listener, l net.Listener) string {
	if c.Advertise != "" || l == nil {
		return c.Advertise
	}
	return l.Addr().String()
}

// Serve answers on both ports until ctx ends, then stops gracefully; an error of
// a port ends it too. It is called once.
func (s *Server) Serve(ctx context.Context) error {
	s.health.register(s.grpc)
	reflection.Register(s.grpc)
	g, run := errgroup.WithContext(ctx)
	g.Go(func() error { return s.serveGRPC() })
	g.Go(func() error { return s.serveHTTP() })
	g.Go(func() error { s.health.watch(run); return nil })
	g.Go(func() error {
		<-run.Done()
		return s.shutDown(context.WithoutCancel(ctx))
	})
	return errors.Join(g.Wait(), s.stop.Drain())
}

// Close frees the ports of a Server that was never served.
func (s *Server) Close() error { return s.stop.Drain() }

func (s *Server) serveGRPC() error {
	if err := s.grpc.Serve(s.api); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// shutDown is the order of a graceful stop; see the package's comment.
func (s *Server) shutDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.StopTimeout)
	defer cancel()
	s.health.stop()
	if s.opts.OnStop != nil {
		s.opts.OnStop(ctx)
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		s.grpc.GracefulStop()
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		s.log.Warn("calls were cut off: they did not finish in time", "timeout", s.opts.StopTimeout)
		s.grpc.Stop() // makes GracefulStop return
		<-finished
	}
	return s.stopHTTP(ctx)
}
