package api

import (
	"context"
	"time"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
)

// maxExport leaves room in a message for what stands around it.
const maxExport = 4 << 20

// Export shows the fleet at one moment: the record as the leader's loop saw it in a pass,
// and what it has heard of the hosts by then.
func (s *Service) Export(ctx context.Context, _ *drummerpb.ExportRequest) (*drummerpb.ExportResponse, error) {
	o, err := s.moment(ctx)
	if err != nil {
		return nil, err
	}
	e, err := export.Take(o)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "export the fleet")
	}
	packed, err := export.Pack(e)
	switch {
	case err != nil:
		return nil, fault.Wrap(err, fault.Internal, "pack the export")
	case len(packed) > maxExport:
		return nil, fault.New(fault.TooLarge, "the fleet packs into %d bytes, and one answer has room for %d: it is too large to be exported", len(packed), maxExport)
	}
	return &drummerpb.ExportResponse{Packed: packed}, nil
}

// moment is what the loop observes with the record that it observes it by, once that has
// all that was acknowledged before the call.
func (s *Service) moment(ctx context.Context) (*loop.Observed, error) {
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	for o.View == nil || o.View.Revision() < v.Revision() {
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), fault.Deadline, "wait for the supervisor to look at the record")
		case <-poll.C:
		}
		if _, o, err = s.look(ctx); err != nil {
			return nil, err
		}
	}
	return o, nil
}
