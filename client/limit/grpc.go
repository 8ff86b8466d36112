package limit

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Method chooses the limiter of a gRPC method, named like /package.Service/Method; nil
// lets its calls pass.
type Method func(ctx context.Context, method string) Limiter

// Methods chooses one limiter for all methods.
func Methods(l Limiter) Method { return func(context.Context, string) Limiter { return l } }

// acquire asks the method's limiter; an error is a status: RESOURCE_EXHAUSTED when the
// limiter refuses, and the context's code when that ended the wait.
func (m Method) acquire(ctx context.Context, method string) (func(), error) {
	l := m(ctx, method)
	if l == nil {
		return nothing, nil
	}
	done, err := l.Acquire(ctx)
	switch {
	case err == nil:
		return done, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, status.Errorf(codes.DeadlineExceeded, "%s: waited for capacity: %v", method, err)
	case errors.Is(err, context.Canceled):
		return nil, status.Errorf(codes.Canceled, "%s: waited for capacity: %v", method, err)
	default:
		return nil, status.Errorf(codes.ResourceExhausted, "%s: %v", method, err)
	}
}

// UnaryClient makes the calls of a gRPC client wait for their capacity.
func UnaryClient(m Method) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		done, err := m.acquire(ctx, method)
		if err != nil {
			return err
		}
		defer done()
		return call(ctx, method, req, reply, cc, opts...)
	}
}

// StreamClient makes the streams of a gRPC client wait for their capacity. A stream is
// one call, under way until it ended: read it to its end, or cancel its context.
func StreamClient(m Method) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		done, err := m.acquire(ctx, method)
		if err != nil {
			return nil, err
		}
		done = sync.OnceFunc(done)
		s, err := open(ctx, desc, cc, method, opts...)
		if err != nil {
			done()
			return nil, err
		}
		context.AfterFunc(s.Context(), done)
		return &stream{ClientStream: s, done: done, many: desc.ServerStreams}, nil
	}
}

// stream tells when a client's stream is over: with the error that ends it, or with the
// one message of a server that sends one.
type stream struct {
	grpc.ClientStream
	done func()
	many bool
}

// RecvMsg receives, and ends the call at the end.
func (s *stream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil || !s.many {
		s.done()
	}
	return err
}

// SendMsg sends, and ends the call when that fails for good.
func (s *stream) SendMsg(m any) error {
	err := s.ClientStream.SendMsg(m)
	if err != nil && !errors.Is(err, io.EOF) { // at io.EOF the reason is still to be received
		s.done()
	}
	return err
}

// UnaryServer limits the calls that a gRPC server takes. A server that rather refuses
// than lets its clients wait gives it limiters made by NoWait.
func UnaryServer(m Method) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		done, err := m.acquire(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		defer done()
		return handle(ctx, req)
	}
}

// StreamServer limits the streams that a gRPC server takes; each is one call.
func StreamServer(m Method) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		done, err := m.acquire(ss.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		defer done()
		return handle(srv, ss)
	}
}
