package limit_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client/limit"
)

// turnstile is a limiter that counts, and refuses on demand.
type turnstile struct {
	mu       sync.Mutex
	refuse   error // guarded by mu
	entered  int   // guarded by mu
	underWay int   // guarded by mu
}

var _ limit.Limiter = (*turnstile)(nil)

func (s *turnstile) Acquire(context.Context) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	s.entered++
	s.underWay++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.underWay--
	}, nil
}

func (s *turnstile) TryAcquire() (func(), bool) {
	done, err := s.Acquire(context.Background())
	return done, err == nil
}

func (s *turnstile) refusing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// passed is how many calls were let through, and how many of them are under way.
func (s *turnstile) passed() (entered, underWay int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entered, s.underWay
}

// onlyHealth limits the methods of the health service by name.
func onlyHealth(l limit.Limiter, method string) limit.Method {
	return func(_ context.Context, m string) limit.Limiter {
		if m == method {
			return l
		}
		return nil
	}
}

// serve starts a gRPC server with the health service, and returns its address.
func serve(t *testing.T, opts ...grpc.ServerOption) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer(opts...)
	h := health.NewServer()
	healthpb.RegisterHealthServer(s, h)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		h.Shutdown() // ends nothing by itself, but watchers hear of it
		s.Stop()
		require.NoError(t, <-served)
	})
	return ln.Addr().String()
}

func connect(t *testing.T, addr string, opts ...grpc.DialOption) healthpb.HealthClient {
	conn, err := grpc.NewClient(addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return healthpb.NewHealthClient(conn)
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// idle waits until no call is under way: a server ends its side a moment after the client.
func idle(t *testing.T, s *turnstile, entered int) {
	require.Eventually(t, func() bool {
		n, underWay := s.passed()
		return n == entered && underWay == 0
	}, 10*time.Second, time.Millisecond)
}

func TestUnaryCalls(t *testing.T) {
	for name, side := range map[string]func(*turnstile) healthpb.HealthClient{
		"client": func(s *turnstile) healthpb.HealthClient {
			return connect(t, serve(t), grpc.WithUnaryInterceptor(limit.UnaryClient(onlyHealth(s, healthpb.Health_Check_FullMethodName))))
		},
		"server": func(s *turnstile) healthpb.HealthClient {
			return connect(t, serve(t, grpc.UnaryInterceptor(limit.UnaryServer(onlyHealth(s, healthpb.Health_Check_FullMethodName)))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &turnstile{}
			c := side(s)
			_, err := c.Check(within(t), &healthpb.HealthCheckRequest{})
			require.NoError(t, err)
			_, err = c.Check(within(t), &healthpb.HealthCheckRequest{Service: "none"})
			require.Equal(t, codes.NotFound, status.Code(err), "a call's own error stays")
			idle(t, s, 2)
			for cause, code := range map[error]codes.Code{
				limit.ErrLimited: codes.ResourceExhausted, limit.ErrClosed: codes.ResourceExhausted,
				context.DeadlineExceeded: codes.DeadlineExceeded, context.Canceled: codes.Canceled,
			} {
				s.refusing(cause)
				_, err = c.Check(within(t), &healthpb.HealthCheckRequest{})
				require.Equal(t, code, status.Code(err))
			}
			_, err = c.List(within(t), &healthpb.HealthListRequest{})
			require.NoError(t, err, "a method without a limiter passes")
			idle(t, s, 2)
		})
	}
}

func TestStreams(t *testing.T) {
	for name, side := range map[string]func(*turnstile) healthpb.HealthClient{
		"client": func(s *turnstile) healthpb.HealthClient {
			return connect(t, serve(t), grpc.WithStreamInterceptor(limit.StreamClient(limit.Methods(s))))
		},
		"server": func(s *turnstile) healthpb.HealthClient {
			return connect(t, serve(t, grpc.StreamInterceptor(limit.StreamServer(limit.Methods(s)))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &turnstile{}
			c := side(s)
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			w, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
			require.NoError(t, err)
			_, err = w.Recv()
			require.NoError(t, err)
			n, underWay := s.passed()
			require.Equal(t, []int{1, 1}, []int{n, underWay}, "a stream is one call, and lasts")
			cancel()
			idle(t, s, 1)
			s.refusing(limit.ErrLimited)
			w, err = c.Watch(within(t), &healthpb.HealthCheckRequest{})
			if err == nil {
				_, err = w.Recv()
			}
			require.Equal(t, codes.ResourceExhausted, status.Code(err))
			idle(t, s, 1)
		})
	}
}

// TestTheEndOfAStream ends a client's streams in every way there is.
func TestTheEndOfAStream(t *testing.T) {
	broken := errors.New("broken")
	unary, many := &grpc.StreamDesc{}, &grpc.StreamDesc{ServerStreams: true}
	tests := []struct {
		name string
		desc *grpc.StreamDesc
		do   func(s grpc.ClientStream) error
		over bool
	}{
		{"a message of many", many, func(s grpc.ClientStream) error { return s.RecvMsg(nil) }, false},
		{"the only message", unary, func(s grpc.ClientStream) error { return s.RecvMsg(nil) }, true},
		{"an error received", many, func(s grpc.ClientStream) error { return s.RecvMsg(broken) }, true},
		{"a message sent", many, func(s grpc.ClientStream) error { return s.SendMsg(nil) }, false},
		{"an error sent", many, func(s grpc.ClientStream) error { return s.SendMsg(broken) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &turnstile{}
			open := func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
				return fakeStream{ctx: ctx}, nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := limit.StreamClient(limit.Methods(l))(ctx, tt.desc, nil, "/x/Y", open)
			require.NoError(t, err)
			_ = tt.do(s)
			_, underWay := l.passed()
			require.Equal(t, tt.over, underWay == 0)
			cancel()
			idle(t, l, 1)
		})
	}
	t.Run("it never began", func(t *testing.T) {
		l := &turnstile{}
		_, err := limit.StreamClient(limit.Methods(l))(t.Context(), many, nil, "/x/Y",
			func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
				return nil, broken
			})
		require.ErrorIs(t, err, broken)
		idle(t, l, 1)
	})
}

// fakeStream is a stream whose messages are what comes of them.
type fakeStream struct {
	grpc.ClientStream
	ctx context.Context
}

func (f fakeStream) Context() context.Context { return f.ctx }

func (f fakeStream) RecvMsg(m any) error { return asError(m) }

func (f fakeStream) SendMsg(m any) error { return asError(m) }

func asError(m any) error {
	err, _ := m.(error)
	return err
}
