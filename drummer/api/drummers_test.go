package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
)

// TestReplaceIsSafeToRepeat: by any name of the new one's address, while it joins and after
// that; and who is a drummer already takes no other's place.
func TestReplaceIsSafeToRepeat(t *testing.T) {
	first := &fleetpb.Drummer{Number: 1, HostId: "d1", Name: "drummer-1", Api: "d1:1", Raft: "d1:2"}
	second := &fleetpb.Drummer{Number: 2, HostId: "d2", Name: "drummer-2", Api: "d2:1", Raft: "d2:2"}
	fresh := &fleetpb.Drummer{HostId: "d3", Name: "drummer-3", Api: "new:1", Raft: "new:2"}
	w := newTown(t, 1)
	w.service[0].Ready(Cluster{
		Record: w.record, Supervisor: &boss{w, 0}, Peers: &boss{w, 0}, Members: crew{
			"d1:1": first, "d2:1": second, "localhost:2": second, "new:1": fresh, "localhost:1": fresh,
			"other:1": {HostId: "d4", Name: "drummer-4", Api: "other:1", Raft: "other:2"},
		},
	})
	w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_FoundDrummers{FoundDrummers: &fleetpb.FoundDrummers{Drummers: []*fleetpb.Drummer{first, second}}}})
	replace := func(who, address string) (*fleetpb.Drummer, error) {
		resp, err := w.drummer(0).AddDrummer(t.Context(), &drummerpb.AddDrummerRequest{Replaces: who, Address: address})
		return resp.GetDrummer(), err
	}
	refused := func(reason fault.Reason, text, who, address string) {
		t.Helper()
		before := w.record.machine.Freeze().Revision()
		_, err := replace(who, address)
		requireReason(t, reason, err)
		require.ErrorContains(t, err, text)
		require.Equal(t, before, w.record.machine.Freeze().Revision())
	}
	repeated := func(number uint64, who, address string) {
		t.Helper()
		d, err := replace(who, address)
		require.NoError(t, err)
		require.Equal(t, number, d.GetNumber())
	}

	refused(fault.GroupNotFound, `no drummer has the name or number "drummer-9"`, "drummer-9", "localhost:1")
	refused(fault.GroupNotFound, `no drummer has the name or number "drummer-9"`, "drummer-9", "nowhere:1")
	refused(fault.Conflict, "the drummer at localhost:2 is drummer 2 already, and takes nobody's place: start a new one", "drummer-1", "localhost:2")
	repeated(2, "drummer-2", "d2:1") // an empty disk may have come to its name and address
	repeated(2, "drummer-2", "localhost:2")

	repeated(3, "drummer-2", "localhost:1")
	require.EqualValues(t, 2, w.record.machine.Freeze().Drummers().Get(3).GetReplaces())
	repeated(3, "drummer-2", "new:1")
	repeated(3, "2", "localhost:1")
	refused(fault.Conflict, "is drummer 3 already", "drummer-1", "localhost:1")
	for _, settled := range []*fleetpb.DrummerSettled{{Number: 2, Gone: true}, {Number: 3}} {
		w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_DrummerSettled{DrummerSettled: settled}})
	}
	repeated(3, "drummer-2", "new:1")
	repeated(3, "drummer-2", "localhost:1")
	repeated(3, "2", "localhost:1")
	require.Len(t, w.record.machine.Freeze().Drummers().All, 2)

	// One that is to leave stays when it is added again, by any name of its address.
	_, err := w.drummer(0).RemoveDrummer(t.Context(), &drummerpb.RemoveDrummerRequest{Drummer: "drummer-3"})
	require.NoError(t, err)
	refused(fault.Conflict, "drummer 3 (drummer-3) is leaving: one change at a time; wait for its end, or add it again if it has to stay", "drummer-1", "other:1")
	refused(fault.Conflict, "the drummer at new:1 is drummer 3, which is to leave", "drummer-3", "new:1")
	d, err := replace("", "localhost:1")
	require.NoError(t, err)
	require.EqualValues(t, 3, d.GetNumber())
	require.Equal(t, fleetpb.DrummerState_DRUMMER_STATE_JOINING, w.record.machine.Freeze().Drummers().Get(3).GetState())
}
