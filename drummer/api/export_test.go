package api

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/export"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
)

// crowd makes hosts.
func (w *town) crowd(hosts int) {
	for i := range hosts {
		w.record.do(w.t, host(fmt.Sprintf("%04d", i)))
	}
	w.observed.View = w.record.machine.Freeze()
}

// A fleet that one answer has no room for is exported in parts, all of one moment, by
// whichever drummer is asked.
func TestALargeFleetIsExportedInParts(t *testing.T) {
	w := newTown(t, 2)
	w.lead(0)
	w.crowd(300)
	const room = 1_000
	for _, s := range w.service {
		s.exports.room = room
	}
	ask := func(r *drummerpb.ExportRequest) *drummerpb.ExportResponse {
		resp, err := w.drummer(1).Export(context.Background(), r)
		require.NoError(t, err)
		require.LessOrEqual(t, len(resp.GetPacked()), room)
		return resp
	}
	first := ask(&drummerpb.ExportRequest{})
	require.Greater(t, first.GetSize(), uint64(2*room), "or the test shows nothing")
	packed := first.GetPacked()
	w.record.do(t, host("late")) // not of that moment
	for uint64(len(packed)) < first.GetSize() {
		next := ask(&drummerpb.ExportRequest{Id: first.GetId(), Offset: uint64(len(packed))})
		require.Equal(t, first.GetId(), next.GetId())
		require.Equal(t, first.GetSize(), next.GetSize())
		packed = append(packed, next.GetPacked()...)
	}
	e, err := export.Unpack(packed)
	require.NoError(t, err)
	whole, err := export.Take(&w.observed)
	require.NoError(t, err)
	require.True(t, proto.Equal(whole, e))
	again := ask(&drummerpb.ExportRequest{Id: first.GetId(), Offset: room})
	require.Equal(t, packed[room:min(2*room, len(packed))], again.GetPacked(), "a part may be asked for again")

	for name, r := range map[string]*drummerpb.ExportRequest{
		"behind its end": {Id: first.GetId(), Offset: first.GetSize()},
		"far behind it":  {Id: first.GetId(), Offset: 1 << 63},
	} {
		_, err = w.drummer(1).Export(context.Background(), r)
		requireReason(t, fault.Invalid, err)
		require.ErrorContains(t, err, "none at offset", name)
	}
	w.service[0].exports.forget(first.GetId())
	_, err = w.drummer(1).Export(context.Background(), &drummerpb.ExportRequest{Id: first.GetId(), Offset: room})
	requireReason(t, fault.Conflict, err)
	require.ErrorContains(t, err, "Begin again")
}

// Exports that nobody fetches any more make room for others.
func TestFewExportsAreKept(t *testing.T) {
	e := exports{room: partOfExport}
	for _, id := range []string{"a", "b", "c"} {
		e.keep(kept{id, []byte("packed")})
	}
	_, err := e.part("a", 0)
	require.True(t, fault.Is(err, fault.Conflict))
	for _, id := range []string{"b", "c"} {
		resp, err := e.part(id, 2)
		require.NoError(t, err)
		require.Equal(t, "cked", string(resp.GetPacked()))
		e.forget(id)
		_, err = e.part(id, 2)
		require.True(t, fault.Is(err, fault.Conflict))
	}
}
