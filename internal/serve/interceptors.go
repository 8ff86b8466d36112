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

// unaryStatus turns what the handler returned into a status.
func unaryStatus(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if err != nil {
		return nil, Status(err).Err()
	}
	return resp, nil
}

func streamStatus(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := next(srv, stream); err != nil {
		return Status(err).Err()
	}
	return nil
}

// unaryRecover makes a panic of a handler an internal fault of that one call: a
// defect must not take the process's replicas down with it. (State machines do
// not run in handlers; what must end the process panics elsewhere.)
func (s *Server) unaryRecover(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = s.panicked(ctx, info.FullMethod, cause)
		}
	}()
	return next(ctx, req)
}

func (s *Server) streamRecover(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = s.panicked(stream.Context(), info.FullMethod, cause)
		}
	}()
	return next(srv, stream)
}

// panicked tells the client that there was a defect, and the log which.
func (s *Server) panicked(ctx context.Context, method string, cause any) error {
	s.log.ErrorContext(ctx, "handler panicked", "method", method, "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
	return fault.New(fault.Internal, "%s hit a defect; the server's log has more", method)
}

func (s *Server) unaryAuthorize(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.authorize(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (s *Server) streamAuthorize(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.authorize(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, stream)
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

func (s *Server) unaryLog(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	s.logCall(ctx, info.FullMethod, err)
	return resp, err
}

func (s *Server) streamLog(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	err := next(srv, stream)
	s.logCall(stream.Context(), info.FullMethod, err)
	return err
}

// logCall writes failed calls: defects loudly, what clients cause only for those
// who look, since a client must not be able to fill the log.
func (s *Server) logCall(ctx context.Context, method string, err error) {
	if err == nil {
		return
	}
	level, code := slog.LevelDebug, status.Code(err)
	if code == codes.Internal || code == codes.DataLoss {
		level = slog.LevelError
	}
	s.log.Log(ctx, level, "call failed", "method", method, "code", code.String(), "err", err.Error())
}
