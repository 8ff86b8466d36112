package members

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

const (
	// maxText bounds every text of a question, in bytes.
	maxText = 512
	// meetTimeout is how long a drummer may take to answer; a proof is a read of the
	// record, and gets most of it.
	meetTimeout  = 2 * time.Second
	proofTimeout = 1500 * time.Millisecond
)

// Meet answers another drummer.
func (m *Members) Meet(ctx context.Context, r *drummerpb.MeetRequest) (*drummerpb.MeetResponse, error) {
	if err := m.check(r); err != nil {
		return nil, err
	}
	if r.GetAdmit() != 0 {
		if err := m.admit(r.GetAdmit(), r.GetRoster()); err != nil {
			return nil, err
		}
	}
	if err := m.hear(r.GetSelf(), r.GetBootEpoch(), r.GetRoster()); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "meet a drummer")
	}
	resp := m.answer()
	c := m.attached()
	if c == nil {
		return resp, nil
	}
	if _, leads := m.leads(c); leads {
		if err := m.update(ctx, c, r.GetSelf()); err != nil {
			return nil, err
		}
	}
	if r.GetProve() && resp.GetRunning() {
		reading, cancel := context.WithTimeout(ctx, proofTimeout)
		defer cancel()
		resp.Proven = c.Group.CatchUp(reading, ids.DrummerGroup) == nil
	}
	return resp, nil
}

func (m *Members) answer() *drummerpb.MeetResponse {
	m.mu.Lock()
	roster, c := m.roster, m.cluster
	m.mu.Unlock()
	resp := &drummerpb.MeetResponse{Self: m.self(), BootEpoch: m.o.BootEpoch, Roster: roster, RecordVersion: fleet.AppVersion}
	if c == nil {
		return resp
	}
	if st, ok := c.Group.Status(ids.DrummerGroup); ok {
		resp.Running, resp.Observer, resp.Applied, resp.Leader = st.Ready, st.Observer, st.Applied, uint64(st.Leader)
	}
	return resp
}

// check refuses strangers and mistakes in the configuration.
func (m *Members) check(r *drummerpb.MeetRequest) error {
	d := r.GetSelf()
	for _, s := range []string{r.GetDeployment(), d.GetHostId(), d.GetRaft(), d.GetApi(), d.GetName(), d.GetRegion()} {
		if len(s) > maxText {
			return fault.New(fault.Invalid, "a text of %d bytes is longer than %d", len(s), maxText)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case r.GetDeployment() != m.o.Deployment:
		return fault.New(fault.Invalid, "that drummer belongs to deployment %q, this one to %q: check the addresses of the drummers", r.GetDeployment(), m.o.Deployment)
	case d.GetHostId() == "":
		return fault.New(fault.Invalid, "a drummer says its host id")
	case d.GetHostId() == m.o.Self.GetHostId():
		return fault.New(fault.Invalid, "host id %s is this drummer's own: another one uses a copy of its data directory", d.GetHostId())
	case m.stranger(r.GetRoster().GetFleet()):
		return fault.New(fault.Conflict, "that drummer keeps the record of fleet %s, this one that of another: check the addresses of the drummers", r.GetRoster().GetFleet())
	}
	return nil
}

// admit takes the number that the group has this drummer under. It is on disk before the
// answer: with another number it must never run.
func (m *Members) admit(number uint64, r *drummerpb.Roster) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.own.Number == number {
		return nil
	}
	listed := find(r, number)
	switch {
	case m.own.Number != 0:
		return fault.New(fault.Conflict, "this drummer has number %d, not %d", m.own.Number, number)
	case r.GetFleet() == "" || listed.GetHostId() != m.o.Self.GetHostId():
		return fault.New(fault.Invalid, "number %d is not for host %s, which this drummer is", number, m.o.Self.GetHostId())
	}
	now := own{Number: number}
	if err := m.store.put(now, r); err != nil {
		return err
	}
	m.own, m.roster = now, r
	for _, d := range r.GetDrummers() {
		if err := m.learn(d, 0); err != nil {
			return err
		}
	}
	close(m.admitted)
	return nil
}

func find(r *drummerpb.Roster, number uint64) *fleetpb.Drummer {
	for _, d := range r.GetDrummers() {
		if d.GetNumber() == number {
			return d
		}
	}
	return nil
}

// hear keeps what another drummer said: the list if it is newer, and where it is itself if it
// is who the list has under its number.
//
// Nobody else's list is the first one that a drummer of a group with a seed has: it would take
// the list of those that are gone for its own. Any other founder takes it: one that stopped
// before it had the first list may have been removed since, and hears of it nowhere else.
func (m *Members) hear(d *fleetpb.Drummer, epoch uint64, r *drummerpb.Roster) error {
	c := m.attached()
	if len(m.List().All) > 0 || c != nil && !c.Seeded && r.GetFleet() == c.Fleet {
		if err := m.take(r); err != nil {
			return err
		}
	}
	if m.hostOf(d.GetNumber()) != d.GetHostId() {
		return nil
	}
	return m.learn(d, epoch)
}

// hostOf is the host id of the drummer of that number; empty when there is none.
func (m *Members) hostOf(number uint64) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := find(m.roster, number); d != nil || m.cluster == nil {
		return d.GetHostId()
	}
	for _, d := range m.cluster.Founders { // nothing is written down yet
		if d.GetNumber() == number && len(m.roster.GetDrummers()) == 0 {
			return d.GetHostId()
		}
	}
	return ""
}

// question is what this drummer says to another.
func (m *Members) question() *drummerpb.MeetRequest {
	m.mu.Lock()
	roster := m.roster
	m.mu.Unlock()
	return &drummerpb.MeetRequest{Deployment: m.o.Deployment, Self: m.self(), BootEpoch: m.o.BootEpoch, Roster: roster}
}

// ask puts a question to the drummer at an address.
func (m *Members) ask(ctx context.Context, address string, q *drummerpb.MeetRequest) (*drummerpb.MeetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	conn, err := m.o.Conn(address)
	if err != nil {
		return nil, err
	}
	return drummerpb.NewMembersClient(conn).Meet(ctx, q)
}

// askAll meets the drummers at these addresses at the same time, and keeps what they say.
func (m *Members) askAll(ctx context.Context, addresses []string) {
	var wg sync.WaitGroup
	for _, a := range addresses {
		wg.Go(func() {
			resp, err := m.ask(ctx, a, m.question())
			if err != nil {
				return
			}
			m.mu.Lock()
			m.met[a] = true
			m.mu.Unlock()
			if err := m.hear(resp.GetSelf(), resp.GetBootEpoch(), resp.GetRoster()); err != nil {
				m.o.Log.Error("keep what a drummer says", "address", a, "err", err)
			}
		})
	}
	wg.Wait()
}

// Inspect asks the drummer at an address who it is, for somebody who wants to add it. When
// nobody answers there, that is no fault of those that are asked: they need not be asked again.
func (m *Members) Inspect(ctx context.Context, address string) (*drummerpb.MeetResponse, error) {
	resp, err := m.ask(ctx, address, m.question())
	switch st := status.Convert(err); st.Code() { //nolint:exhaustive // all others mean that nobody answered
	case codes.OK:
		return resp, nil
	case codes.Unimplemented:
		return nil, fault.New(fault.Invalid, "what answers at %s is no drummer", address)
	case codes.InvalidArgument, codes.FailedPrecondition:
		return nil, fault.New(fault.Conflict, "the drummer at %s refuses: %s", address, st.Message())
	default:
		if len(st.Details()) > 0 { // only who answers says them
			return nil, fault.New(fault.Unavailable, "the drummer at %s answers with an error, ask again: %s", address, st.Message())
		}
		return nil, fault.New(fault.Conflict, "no drummer answers at %s: start one there with --join and an empty data directory, then ask again (%s)", address, st.Message())
	}
}

// update proposes what a member says of itself if the record has it otherwise. This drummer leads.
func (m *Members) update(ctx context.Context, c *Cluster, d *fleetpb.Drummer) error {
	v, err := c.Record.LocalView()
	if err != nil {
		return err
	}
	known := v.Drummers().Get(d.GetNumber())
	if known.GetHostId() != d.GetHostId() || !differs(known, d) {
		return nil
	}
	return m.propose(ctx, c, &fleetpb.Command{Op: &fleetpb.Command_UpdateDrummer{UpdateDrummer: &fleetpb.UpdateDrummer{Drummer: d}}})
}

// differs tells whether a drummer says something else of itself than is known.
func differs(known, d *fleetpb.Drummer) bool {
	same := proto.CloneOf(known)
	same.Name, same.Region, same.Api, same.Raft = d.GetName(), d.GetRegion(), d.GetApi(), d.GetRaft()
	return !proto.Equal(same, known)
}

func (m *Members) propose(ctx context.Context, c *Cluster, cmd *fleetpb.Command) error {
	result, err := c.Record.Propose(ctx, cmd)
	if err != nil {
		return err
	}
	if result.GetCode() != fleetpb.Code_CODE_OK {
		return fault.New(fault.Conflict, "%s", result.GetDetail())
	}
	return nil
}
