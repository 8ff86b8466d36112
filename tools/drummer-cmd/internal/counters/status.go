package counters

import (
	"context"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	counterpb "github.com/drumline/drumline/drummerpb/counter"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// state is a group's own.
type state struct {
	Name     string   `json:"name" yaml:"name"`
	Counters uint64   `json:"counters" yaml:"counters"`
	Graves   uint64   `json:"graves" yaml:"graves"`
	ForgetAt string   `json:"forget_at" yaml:"forget_at"`
	Keys     uint64   `json:"remembered" yaml:"remembered"`
	Revision uint64   `json:"revision" yaml:"revision"`
	Version  uint64   `json:"version" yaml:"version"`
	Forged   uint64   `json:"forged" yaml:"forged"`
	Regions  []region `json:"regions" yaml:"regions"`
}

// region is a life of a region that the group has heard of.
type region struct {
	Region      string `json:"region" yaml:"region"`
	Incarnation string `json:"incarnation" yaml:"incarnation"`
	State       string `json:"state" yaml:"state"`
	Version     uint64 `json:"version" yaml:"version"`
	AsOf        string `json:"as_of" yaml:"as_of"`
}

func stateOfGroup(name string, g *counterpb.GroupInfo) state {
	s := state{
		Name: name, Counters: g.GetKeys() - g.GetGraves(), Graves: g.GetGraves(), ForgetAt: moment(g.GetForgetAtMs()), Keys: g.GetRemembered(),
		Revision: g.GetRevision(), Version: g.GetVersion(), Forged: g.GetForged(), Regions: []region{},
	}
	for _, r := range g.GetRegions() {
		s.Regions = append(s.Regions, region{
			r.GetOrigin().GetRegion(), fmt.Sprintf("%016x", r.GetOrigin().GetIncarnation()), stateOf(r), r.GetVersion(), moment(r.GetWallMs()),
		})
	}
	return s
}

func (n *Noun) status() noun.Verb {
	return noun.Verb{
		Name: "status", Usage: "show what a group of counters holds", Args: "GROUP", Min: 1, Max: 1, Watchable: true, Flags: []cli.Flag{regionFlag()},
		About: "Shows how many counters there are, traces of deleted ones (graves) and when one of them may go, and each life of a region that was heard " +
			"of. Graves that never may go wait for a region: if it will not come back, retire it. forged counts what others said of the region itself and was not so.",
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, counterApp)
			return n.service(ctx, func(ctx context.Context, s counterpb.CounterClient) error {
				r, err := s.Status(ctx, &counterpb.StatusRequest{Group: of.Group, Region: of.Region})
				if err != nil {
					return noun.Doing("status of "+of.Full, err)
				}
				out := stateOfGroup(of.Group, r.GetInfo())
				when := ""
				if out.ForgetAt != "" {
					when = "one may go at " + out.ForgetAt
				}
				table := [][]string{
					{"NAME", of.Full},
					{"counters", strconv.FormatUint(out.Counters, 10)},
					{"graves", fmt.Sprintf("%d, %s", out.Graves, or(when, "none may go yet"))},
					{"keys remembered", strconv.FormatUint(out.Keys, 10)},
					{"configuration", strconv.FormatUint(out.Revision, 10)},
					{"forged", strconv.FormatUint(out.Forged, 10)},
				}
				for _, r := range out.Regions {
					table = append(table, []string{"region " + or(r.Region, "-"), fmt.Sprintf("%s as of %s, incarnation %s", r.State, or(r.AsOf, "-"), r.Incarnation)})
				}
				return n.Print(out, table)
			})
		},
	}
}
