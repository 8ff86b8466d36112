package api

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
)

const (
	// partOfExport leaves room in a message for what stands around it.
	partOfExport = 4 << 20
	// keptExports are kept while they are fetched, each for so long: one of 100,000 groups
	// is some megabytes.
	keptExports = 2
	keepExport  = 3 * time.Minute
)

// exports are those that are being fetched, the oldest first.
type exports struct {
	room uint64 // for a part, in an answer

	mu   sync.Mutex
	kept []kept
}

// kept is one export, packed.
type kept struct {
	id     string
	packed []byte
}

// Export shows the fleet at one moment: the record as the leader's loop saw it in a pass,
// and what it has heard of the hosts by then. What one answer has no room for is asked for
// with the export's id.
func (s *Service) Export(ctx context.Context, r *drummerpb.ExportRequest) (*drummerpb.ExportResponse, error) {
	if r.GetId() != "" {
		return s.exports.part(r.GetId(), r.GetOffset())
	}
	packed, err := s.pack(ctx)
	if err != nil {
		return nil, err
	}
	id := rand.Text()
	if uint64(len(packed)) > s.exports.room {
		s.exports.keep(kept{id, packed})
	}
	return s.exports.partOf(kept{id, packed}, 0), nil
}

// keep keeps an export for a while, in the place of the oldest.
func (e *exports) keep(k kept) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, k)
	if len(e.kept) > keptExports {
		e.kept = slices.Delete(e.kept, 0, 1)
	}
	time.AfterFunc(keepExport, func() { e.forget(k.id) })
}

func (e *exports) forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = slices.DeleteFunc(e.kept, func(k kept) bool { return k.id == id })
}

// part is what an answer has room for, from an offset on.
func (e *exports) part(id string, offset uint64) (*drummerpb.ExportResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := slices.IndexFunc(e.kept, func(k kept) bool { return k.id == id })
	switch {
	case at < 0:
		return nil, fault.New(fault.Conflict, "this export is not kept here: another drummer leads since, or it was left for too long. Begin again")
	case offset >= uint64(len(e.kept[at].packed)):
		return nil, fault.New(fault.Invalid, "the export has %d bytes, and none at offset %d", len(e.kept[at].packed), offset)
	}
	return e.partOf(e.kept[at], offset), nil
}

func (e *exports) partOf(k kept, offset uint64) *drummerpb.ExportResponse {
	end := min(offset+e.room, uint64(len(k.packed)))
	return &drummerpb.ExportResponse{Packed: k.packed[offset:end], Id: k.id, Size: uint64(len(k.packed))}
}

// pack takes the fleet and makes it small.
func (s *Service) pack(ctx context.Context) ([]byte, error) {
	o, err := s.moment(ctx)
	if err != nil {
		return nil, err
	}
	e, err := export.Take(o)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "export the fleet")
	}
	packed, err := export.Pack(e)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "pack the export")
	}
	return packed, nil
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
