package capacity

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wire carries requests to whatever leases.
type wire interface {
	// refresh asks for leases and returns an answer for each, in the order of the asks.
	refresh(ctx context.Context, client string, asks []ask) ([]grant, error)
	// release gives leases back.
	release(ctx context.Context, client string, back surrender) error
}

// surrender names what is given back. A server that gave a lease for a request with a
// higher serial keeps it, however late the surrender comes.
type surrender struct {
	names  []string
	serial uint64
}

// errMissing is what is said of a resource that the answer leaves out.
var errMissing = errors.New("the server's answer leaves the resource out")

// errOld is what is said of an answer that is older than what is held.
var errOld = errors.New("the server's answer is older than the lease that is held")

// refused tells whether the server will say the same again: something in the request is
// wrong, and not the server.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.FailedPrecondition, codes.OutOfRange:
		return true
	default:
		return false
	}
}
