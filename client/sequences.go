package client

import (
	"context"
	"errors"
	"strings"

	"github.com/drumline/drumline/client/sequence"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Sequence returns the client of a sequence: sequence/NAME, or sequence/NAME#KEY for one
// of a family. Close it before the Client.
func (c *Client) Sequence(name string, opts ...sequence.Option) *sequence.Sequence {
	group, key, _ := strings.Cut(name, "#")
	return sequence.New(sequenceGroup{c.Group(group)}, name, key, opts...)
}

// GapFree returns the client of a gap-free sequence, whose numbers are reserved, then
// committed or cancelled. Close it before the Client.
func (c *Client) GapFree(name string, opts ...sequence.Option) *sequence.GapFree {
	group, key, _ := strings.Cut(name, "#")
	return sequence.NewGapFree(sequenceGroup{c.Group(group)}, name, key, opts...)
}

// TimeIDs returns a maker of numbers of a sequence of mode time: they cost no round trip.
// Close it before the Client.
func (c *Client) TimeIDs(name string, opts ...sequence.Option) *sequence.TimeIDs {
	group, key, _ := strings.Cut(name, "#")
	return sequence.NewTimeIDs(sequenceGroup{c.Group(group)}, name, key, opts...)
}

// Timestamps returns the client of a sequence of mode tso: hybrid timestamps that ascend
// for everybody. Close it before the Client.
func (c *Client) Timestamps(name string, opts ...sequence.Option) *sequence.Timestamps {
	group, key, _ := strings.Cut(name, "#")
	return sequence.NewTimestamps(sequenceGroup{c.Group(group)}, name, key, opts...)
}

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
