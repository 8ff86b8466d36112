package leases

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/urfave/cli/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

func (n *Noun) get() Verb {
	return Verb{
		Name: "get", Usage: "lease a share of a resource, once", Args: "CLIENT RESOURCE WANTS", Min: 3, Max: 3,
		About: "Asks once and shows the lease, which ends by itself unless the client asks again in time; a resource that a template " +
			"matches is made on first use. `capacity shell` keeps its clients' leases refreshed.",
		Flags: []cli.Flag{&cli.Int64Flag{Name: "priority", Usage: "`PRIORITY` of the client; a higher one comes first where the algorithm is PRIORITY"}, noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			id, resource := c.Args().Get(0), placeOf(c, 1)
			wants, err := strconv.ParseFloat(c.Args().Get(2), 64)
			if err != nil {
				return usage("%q is no capacity: write a number, like 12.5", c.Args().Get(2))
			}
			if !(wants >= 0) || math.IsInf(wants, 1) { // NaN too; nothing is made for it
				return usage("%v is no capacity: want a finite number that is not negative", wants)
			}
			wants += 0 // -0 is 0
			band := &capacitypb.Band{Priority: c.Int64("priority"), Clients: 1, Wants: wants}
			req := &capacitypb.Request{ClientId: id, Bands: []*capacitypb.Band{band}}
			res, err := n.change(ctx, resource, &capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: &capacitypb.Decide{Requests: []*capacitypb.Request{req}}}})
			if err != nil {
				return doing(fmt.Sprintf("lease %s for %s", resource, readable(id)), err)
			}
			g := res.GetGrants()[0]
			if g.GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
				return refused(resource, g.GetOutcome(), g.GetDetail())
			}
			lease := OfGrant(g)
			lease.Client, lease.Resource, lease.Region, lease.Wants = id, resource.name, resource.region, wants
			return n.showLease(lease)
		},
	}
}

func (n *Noun) showLease(l Lease) error {
	return n.Console.Print(l, func() []Table {
		return []Table{{
			{"CLIENT", "RESOURCE", "WANTS", "CAPACITY", "LEASE", "REFRESH", "SAFE"},
			{
				readable(l.Client), place{l.Resource, l.Region}.String(), amount(l.Wants), amount(l.Capacity),
				amount(l.LeaseSeconds) + "s", amount(l.RefreshSeconds) + "s", amount(l.SafeCapacity),
			},
		}}
	})
}

// change proposes a command to a resource's group.
func (n *Noun) change(ctx context.Context, resource place, cmd *capacitypb.Command) (*capacitypb.Result, error) {
	conn, err := n.Console.Client(ctx)
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, usage("%v", err)
	}
	answer, err := conn.In(resource.region).Group(app+resource.name).Propose(ctx, data)
	if err != nil {
		return nil, err
	}
	return resultOf(resource, answer)
}

// resultOf decodes what a resource's group answered.
func resultOf(resource place, answer client.Result) (*capacitypb.Result, error) {
	res := &capacitypb.Result{}
	if err := proto.Unmarshal(answer.Data, res); err != nil {
		return nil, fmt.Errorf("resource %s gave an answer that is none of app capacity: %w", resource, err)
	}
	if res.GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
		return nil, refused(resource, res.GetOutcome(), res.GetDetail())
	}
	return res, nil
}

// refused is the failure of a command that the machine did not obey.
func refused(resource place, o capacitypb.Outcome, detail string) error {
	switch o { //nolint:exhaustive // the others are one kind
	case capacitypb.Outcome_OUTCOME_INVALID:
		return usage("resource %s: %s", resource, detail)
	case capacitypb.Outcome_OUTCOME_NOT_CONFIGURED:
		return &Error{Kind: Conflict, Text: fmt.Sprintf("resource %s has no definition", resource), Hint: "drummer-cmd capacity config apply -f FILE"}
	default:
		return &Error{Kind: Failed, Text: fmt.Sprintf("resource %s: %s %s", resource, o, detail)}
	}
}

func (n *Noun) release() Verb {
	return Verb{
		Name: "release", Usage: "give a client's lease back", Args: "CLIENT RESOURCE", Min: 2, Max: 2,
		About: "Frees what the client held at once: use it for a client that has stopped, and not for one that goes on.",
		Flags: []cli.Flag{noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			id, resource := c.Args().Get(0), placeOf(c, 1)
			conn, err := n.Console.Client(ctx)
			if err != nil {
				return err
			}
			req := &capacitypb.ReleaseRequest{ClientId: id, Resources: []string{resource.name}, Regions: []string{resource.region}}
			resp, err := capacitypb.NewCapacityClient(conn.Hosts()).Release(ctx, req)
			if err == nil && resp.GetFaults()[0].GetReason() != hostpb.Reason_REASON_UNSPECIFIED {
				f := resp.GetFaults()[0]
				err = status.Error(codes.Code(f.GetCode()), f.GetText())
			}
			if err != nil {
				return doing(fmt.Sprintf("release %s of %s", resource, readable(id)), err)
			}
			return n.Console.Print(Released{Client: id, Resource: resource.name, Region: resource.region, Released: true}, func() []Table {
				return []Table{{{"CLIENT", "RESOURCE", "RESULT"}, {readable(id), resource.String(), "released"}}}
			})
		},
	}
}
