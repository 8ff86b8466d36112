package client

import (
	"context"
	"errors"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// sequenceGroup proposes for a sequence. Its commands are applied exactly once however
// often they are sent, so also those of unknown outcome are sent again, and soon.
type sequenceGroup struct{ g *Group }

// Propose implements sequence.Group.
func (s sequenceGroup) Propose(ctx context.Context, cmd []byte) ([]byte, bool, error) {
	r, err := s.g.ProposeIdempotent(ctx, cmd)
	return r.Data, mayHelp(err), err
}

// mayHelp tells whether sending the same again may do better.
func mayHelp(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Reason { //nolint:exhaustive // the others pass
	case hostpb.Reason_REASON_INVALID, hostpb.Reason_REASON_GROUP_NOT_FOUND, hostpb.Reason_REASON_TOO_LARGE, hostpb.Reason_REASON_CONFLICT:
		return false
	}
	return true
}
