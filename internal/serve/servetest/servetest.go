// Package servetest serves gRPC services on loopback for tests. Errors become statuses as in
// internal/serve; panics are not recovered: they end the test.
package servetest

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drumline/drumline/internal/serve"
)

// Server is a server that runs; services register with it.
type Server struct {
	*grpc.Server
	// Addr is where it listens, HOST:PORT.
	Addr string
	done chan struct{}
}

// Start serves what register registers, until Close or the test's end.
func Start(t testing.TB, register func(*Server)) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{
		Server: grpc.NewServer(grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(stream), grpc.MaxRecvMsgSize(serve.MaxMessage)),
		Addr:   ln.Addr().String(), done: make(chan struct{}),
	}
	register(s)
	go func() {
		defer close(s.done)
		_ = s.Serve(ln)
	}()
	t.Cleanup(s.Close)
	return s
}

// Close breaks all connections and waits until the server has ended.
func (s *Server) Close() {
	s.Stop()
	<-s.done
}

// Dial serves what register registers and returns a connection to it; both end with the test.
func Dial(t testing.TB, register func(*Server), opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	s := Start(t, register)
	conn, err := grpc.NewClient(s.Addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	return resp, serve.Status(err).Err()
}

func stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return serve.Status(next(srv, s)).Err()
}
