package serve

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/internal/fault"
)

// unary counts a call, lets it in if it may come, and makes of its error a status and a
// line in the log. One function does it all: a chain of them would cost every call a
// closure for each.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	m := s.calls.of(typeUnary, info.FullMethod)
	began := m.began()
	m.received.Inc()
	resp, err := s.answer(ctx, req, info, next)
	if err == nil {
		m.sent.Inc()
		m.ended(began, nil)
		return resp, nil
	}
	err = Status(err).Err()
	s.logCall(ctx, info.FullMethod, err)
	m.ended(began, err)
	return nil, err
}

// answer makes a panic of a handler an internal fault of that one call: a defect must
// not take the process's replicas down with it. (State machines do not run in
// handlers; what must end the process panics elsewhere.)
func (s *Server) answer(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = s.panicked(ctx, info.FullMethod, cause)
		}
	}()
	if err := s.authorize(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

// stream is unary for streams.
func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	m := s.calls.of(kindOf(info), info.FullMethod)
	began := m.began()
	err := s.serveStream(srv, &countedStream{ServerStream: stream, of: m}, info, next)
	if err != nil {
		err = Status(err).Err()
		s.logCall(stream.Context(), info.FullMethod, err)
	}
	m.ended(began, err)
	return err
}

// serveStream is answer for streams.
func (s *Server) serveStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = s.panicked(stream.Context(), info.FullMethod, cause)
		}
	}()
	if err := s.authorize(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, stream)
}

// panicked tells the client that there was a defect, and the log which.
func (s *Server) panicked(ctx context.Context, method string, cause any) error {
	s.log.ErrorContext(ctx, "handler panicked", "method", method, "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
	return fault.New(fault.Internal, "%s hit a defect; the server's log has more", method)
}

// authorize asks; an Authorizer that returns a plain error means "denied".
func (s *Server) authorize(ctx context.Context, method string) error {
	if s.opts.Authorize == nil {
		return nil
	}
	err := s.opts.Authorize(ctx, method)
	if err == nil || fault.Of(err) != nil {
		return err
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.PermissionDenied, err.Error())
}

// logCall writes failed calls: defects loudly, what clients cause only for those
// who look, since a client must not be able to fill the log.
func (s *Server) logCall(ctx context.Context, method string, err error) {
	level, code := slog.LevelDebug, status.Code(err)
	if code == codes.Internal || code == codes.DataLoss {
		level = slog.LevelError
	}
	s.log.Log(ctx, level, "call failed", "method", method, "code", code.String(), "err", err.Error())
}
