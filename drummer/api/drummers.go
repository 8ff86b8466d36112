package api

import (
	"context"
	"net"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
)

// Members are the drummers, as the one that leads knows them.
type Members interface {
	// Inspect asks the drummer at an address who it is.
	Inspect(ctx context.Context, address string) (*drummerpb.MeetResponse, error)
	// Describe asks those of a list how they are.
	Describe(ctx context.Context, list []*fleetpb.Drummer) *drummerpb.ListDrummersResponse
}

// AddDrummer lets a drummer join that waits for it. Safe to repeat.
func (s *Service) AddDrummer(ctx context.Context, r *drummerpb.AddDrummerRequest) (*drummerpb.DrummerResponse, error) {
	c, v, err := s.drummers(ctx)
	if err != nil {
		return nil, err
	}
	old, missing := replaced(v, r.GetReplaces())
	d, err := newcomer(ctx, c, r.GetAddress(), v)
	known := v.Drummers().OfHost(d.GetHostId())
	switch {
	case missing != nil && known == nil:
		return nil, missing // whoever answers at the address
	case err != nil:
		return nil, err
	case known == nil:
		d.Replaces = old.GetNumber()
	case old != nil && known.GetState() == fleetpb.DrummerState_DRUMMER_STATE_LEAVING:
		return nil, fault.New(fault.Conflict, "the drummer at %s is drummer %d, which is to leave: wait for its end, or add it without replacing any if it has to stay", r.GetAddress(), known.GetNumber())
	case old != nil && known != old && known.GetReplaces() != old.GetNumber():
		return nil, fault.New(fault.Conflict, "the drummer at %s is drummer %d already, and takes nobody's place: start a new one with --join and an empty data directory, or remove drummer %d",
			r.GetAddress(), known.GetNumber(), old.GetNumber())
	} // else the same is asked for again, perhaps by another name of the address; the old one may be gone
	add := &fleetpb.AddDrummer{Drummer: d, Author: r.GetAuthor()}
	return changeDrummers(ctx, c, &fleetpb.Command{Op: &fleetpb.Command_AddDrummer{AddDrummer: add}}, r.GetDryRun())
}

// replaced is whose place a newcomer takes; nil for nobody's.
func replaced(v *fleet.View, ref string) (*fleetpb.Drummer, error) {
	if ref == "" {
		return nil, nil
	}
	return findDrummer(v, ref)
}

// newcomer is who waits at the address.
func newcomer(ctx context.Context, c *Cluster, address string, v *fleet.View) (*fleetpb.Drummer, error) {
	if address == "" {
		return nil, fault.New(fault.Invalid, "the address of the drummer to add is empty")
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fault.New(fault.Invalid, "address %q is no HOST:PORT, like drummer-4.example:9121", address)
	}
	met, err := c.Members.Inspect(ctx, address)
	if err != nil {
		return nil, err
	}
	d := proto.CloneOf(met.GetSelf())
	known := v.Drummers().OfHost(d.GetHostId())
	if known == nil && d.GetNumber() != 0 {
		return nil, fault.New(fault.Conflict, "the drummer at %s has number %d already and is none of these: to join it needs an empty data directory and --join", address, d.GetNumber())
	}
	if d.GetApi() != address { // the others will know it by what it says
		again, err := c.Members.Inspect(ctx, d.GetApi())
		if err != nil || again.GetSelf().GetHostId() != d.GetHostId() {
			return nil, fault.New(fault.Invalid, "the drummer at %s says that its address is %s, where it is not found: set api.advertise in its configuration", address, d.GetApi())
		}
	}
	return d, nil
}

// RemoveDrummer removes a drummer for good, if the others can go on without it. Safe to repeat.
func (s *Service) RemoveDrummer(ctx context.Context, r *drummerpb.RemoveDrummerRequest) (*drummerpb.DrummerResponse, error) {
	c, v, err := s.drummers(ctx)
	if err != nil {
		return nil, err
	}
	d, err := findDrummer(v, r.GetDrummer())
	if err != nil {
		return nil, err
	}
	if d.GetState() == fleetpb.DrummerState_DRUMMER_STATE_MEMBER {
		if err := dispensable(c.Members.Describe(ctx, v.Drummers().All), d); err != nil {
			return nil, err
		}
	}
	cmd := &fleetpb.Command{Op: &fleetpb.Command_RemoveDrummer{RemoveDrummer: &fleetpb.RemoveDrummer{Number: d.GetNumber(), Author: r.GetAuthor()}}}
	return changeDrummers(ctx, c, cmd, r.GetDryRun())
}

// dispensable refuses a removal after which the others would have no quorum that answers.
// The change itself waits for one again: this is for people, who should not wait for ever.
func dispensable(all *drummerpb.ListDrummersResponse, d *fleetpb.Drummer) error {
	left, answer := 0, 0
	for _, i := range all.GetDrummers() {
		if i.GetDrummer().GetNumber() == d.GetNumber() || i.GetDrummer().GetState() != fleetpb.DrummerState_DRUMMER_STATE_MEMBER {
			continue
		}
		left++
		if i.GetAnswers() {
			answer++
		}
	}
	if left > 0 && answer <= left/2 {
		return fault.New(fault.Conflict, "without drummer %d %d would be left and %d of them answer, which is no majority: bring others back, or replace one that is lost, first", d.GetNumber(), left, answer)
	}
	return nil
}

// ListDrummers shows the members of the drummers' group.
func (s *Service) ListDrummers(ctx context.Context, _ *drummerpb.ListDrummersRequest) (*drummerpb.ListDrummersResponse, error) {
	c, v, err := s.drummers(ctx)
	if err != nil {
		return nil, err
	}
	return c.Members.Describe(ctx, v.Drummers().All), nil
}

// drummers is the cluster and a linearizable look at the record, on the leader.
func (s *Service) drummers(ctx context.Context) (*Cluster, *fleet.View, error) {
	c, err := s.use()
	if err != nil {
		return nil, nil, err
	}
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, nil, asRead(err)
	}
	return c, v, nil
}

// findDrummer finds a drummer by number or name.
func findDrummer(v *fleet.View, ref string) (*fleetpb.Drummer, error) {
	if n, err := strconv.ParseUint(ref, 10, 64); err == nil {
		if d := v.Drummers().Get(n); d != nil {
			return d, nil
		}
	}
	for _, d := range v.Drummers().All {
		if d.GetName() == ref {
			return d, nil
		}
	}
	return nil, fault.NotFound(fault.Drummer, "no drummer has the name or number %q", ref)
}

// changeDrummers puts a wish into the record and answers with the drummer as it is then.
func changeDrummers(ctx context.Context, c *Cluster, cmd *fleetpb.Command, dry bool) (*drummerpb.DrummerResponse, error) {
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, asRead(err)
	}
	list, result, _, _ := v.Drummers().Execute(cmd, fleet.AppVersion)
	if !dry {
		if result, err = ask(ctx, c, cmd); err != nil {
			return nil, err
		}
		if v, err = c.Record.View(ctx); err != nil {
			return nil, fault.Wrap(err, fault.UnknownOutcome, "it is under way; list the servers")
		}
		list = v.Drummers()
	}
	switch {
	case result.GetCode() != fleetpb.Code_CODE_OK:
		return nil, refused(cmd, result)
	case len(result.GetItems()) != 1:
		return nil, fault.New(fault.Internal, "the record does not say which drummer it is")
	}
	return &drummerpb.DrummerResponse{Drummer: list.Get(result.GetItems()[0].GetId())}, nil
}
