// Package export takes a live fleet as it is at one moment (the record, and what hosts
// report) so that a simulation can begin with it, and writes it as a file. It is pure.
//
// What nobody needs for that stays behind: addresses, configurations of apps, who asked
// for what, and the history.
package export

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/tape"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Fleet is an export that was checked. It is not changed: any number of simulations may
// begin with it.
type Fleet struct {
	*drummerpb.FleetExport

	tape []byte // the record's snapshot
}

// Take takes the fleet that a leader observes; o.View must be there.
func Take(o *loop.Observed) (*drummerpb.FleetExport, error) {
	var b bytes.Buffer
	whole := fleet.Fork(o.View).Snapshot()
	defer whole.Close()
	if _, err := whole.WriteTo(&b); err != nil {
		return nil, err
	}
	records, err := play(&b)
	if err != nil {
		return nil, err
	}
	e := &drummerpb.FleetExport{TakenUnixMs: o.UnixMs}
	for _, r := range records {
		if bare := strip(r); bare != nil {
			e.Records = append(e.Records, bare)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(o.Hosts)) {
		e.Hosts = append(e.Hosts, seen(id, o.Hosts[id]))
	}
	for _, id := range slices.Sorted(maps.Keys(o.Groups)) {
		if m := o.Groups[id].Membership; m != nil {
			e.Memberships = append(e.Memberships, &drummerpb.ExportedMembership{Group: uint64(id), Membership: m})
		}
	}
	return e, nil
}

func seen(id ids.Host, h *planner.Host) *drummerpb.ExportedHost {
	out := &drummerpb.ExportedHost{Id: string(id), Up: h.Connected && h.State == planner.Up, Heard: h.Session != 0}
	for _, r := range h.Replicas {
		r = proto.CloneOf(r)
		r.Detail = ""
		out.Replicas = append(out.Replicas, r)
	}
	slices.SortFunc(out.Replicas, byReplica)
	return out
}

func byReplica(a, b *drummerpb.ReplicaReport) int {
	return cmp.Or(cmp.Compare(a.GetGroup(), b.GetGroup()), cmp.Compare(a.GetReplica(), b.GetReplica()))
}

// play reads all records of a snapshot.
func play(r io.Reader) (list []*fleetpb.SnapshotRecord, err error) {
	t, err := tape.NewReader(r)
	if err != nil {
		return nil, err
	}
	for {
		record, err := t.Record()
		if err != nil {
			return nil, err
		}
		if record == nil {
			return list, t.End()
		}
		list = append(list, record)
	}
}

// strip leaves out of a record what is nobody's business; nil for all of it.
func strip(r *fleetpb.SnapshotRecord) *fleetpb.SnapshotRecord {
	switch item := r.GetItem().(type) {
	case *fleetpb.SnapshotRecord_Header:
		item.Header.Drummers, item.Header.NextDrummer = nil, 0
	case *fleetpb.SnapshotRecord_Host:
		h := item.Host
		h.Api, h.Raft, h.Gossip = h.GetName(), h.GetName(), "" // a host has some address
		if h.GetWanted() != nil {
			h.Wanted.Author, h.Wanted.Reason = "", ""
		}
	case *fleetpb.SnapshotRecord_Operation:
		if item.Operation.GetEndedUnixMs() != 0 {
			return nil
		}
		item.Operation.Author, item.Operation.Reason, item.Operation.Steps = "", "", nil
	case *fleetpb.SnapshotRecord_Event, *fleetpb.SnapshotRecord_Configuration:
		return nil
	}
	return r
}

// Check says whether a record can be made of an export.
func Check(e *drummerpb.FleetExport) (*Fleet, error) {
	var b bytes.Buffer
	t := tape.NewWriter(&b, tape.Magic1)
	for _, r := range e.GetRecords() {
		t.Record(r)
	}
	if _, err := t.End(); err != nil {
		return nil, err
	}
	f := &Fleet{FleetExport: e, tape: b.Bytes()}
	record, err := f.restore()
	if err != nil {
		return nil, err
	}
	return f, f.known(record.Freeze())
}

func (f *Fleet) restore() (*fleet.Machine, error) {
	m := fleet.New()
	return m, m.Restore(bytes.NewReader(f.tape))
}

// Record is the fleet's record, a new one each time.
func (f *Fleet) Record() *fleet.Machine {
	m, _ := f.restore() // Check has done it
	return m
}

// known checks that what is observed is of what the record has.
func (f *Fleet) known(v *fleet.View) error {
	last := ""
	for _, h := range f.GetHosts() {
		if v.Host(ids.Host(h.GetId())) == nil || h.GetId() <= last {
			return fmt.Errorf("host %q is observed, and the record has none of that id, or it is out of order", h.GetId())
		}
		last = h.GetId()
		if !slices.IsSortedFunc(h.GetReplicas(), byReplica) {
			return fmt.Errorf("the replicas of host %q are out of order", h.GetId())
		}
	}
	for _, m := range f.GetMemberships() {
		if m.GetMembership().GetConfigChange() == 0 || len(m.GetMembership().GetVoters()) == 0 {
			return fmt.Errorf("group %d has a membership without voters", m.GetGroup())
		}
	}
	return nil
}

// maxUnpacked bounds what Unpack makes of an answer.
const maxUnpacked = 1 << 30

// Pack makes an export small.
func Pack(e *drummerpb.FleetExport) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed) // somebody waits for it, and the drummer has other things to do
	if err != nil {
		return nil, err
	}
	_, err = z.Write(data)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Unpack is the way back.
func Unpack(packed []byte) (*drummerpb.FleetExport, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, maxUnpacked))
	if err != nil {
		return nil, err
	}
	e := &drummerpb.FleetExport{}
	return e, proto.Unmarshal(data, e)
}
