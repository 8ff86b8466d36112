package counters

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	counterpb "github.com/drumline/drumline/drummerpb/counter"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// newKey draws an idempotency key.
func newKey() *counterpb.Key {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return &counterpb.Key{High: binary.BigEndian.Uint64(b[:8]), Low: binary.BigEndian.Uint64(b[8:]) | 1, MadeMs: uint64(time.Now().UnixMilli())}
}

func (n *Noun) add() noun.Verb {
	return noun.Verb{
		Name: "add", Usage: "count", Args: "NAME [AMOUNT]", Min: 1, Max: 2, Flags: []cli.Flag{regionFlag()},
		About: aboutName + "Adds AMOUNT, 1 unless told, and prints the value after. It is counted once, whatever happens to answers on the " +
			"way. To subtract, put the amount behind two hyphens: counter add -- NAME -5.",
		Run: func(ctx context.Context, c *cli.Context) error {
			amount := int64(1)
			if c.Args().Len() > 1 {
				var err error
				if amount, err = strconv.ParseInt(c.Args().Get(1), 10, 64); err != nil {
					return noun.Fault(noun.Usage, "%q is no whole number between -2^63 and 2^63-1", c.Args().Get(1))
				}
			}
			of := noun.KeyedBy(c, counterApp)
			once := newKey()
			return n.changed(ctx, "add to", of.Full, func(ctx context.Context, s counterpb.CounterClient) (*counterpb.Result, error) {
				return s.Add(ctx, &counterpb.AddRequest{Group: of.Group, Region: of.Region, Add: &counterpb.Add{Key: of.Key, Amount: amount, Once: once}})
			})
		},
	}
}

// simple is a verb that changes one counter and needs nothing but its name.
type simple struct {
	name, usage, about string
	// warning, unless empty, is what has to be confirmed.
	warning string
	call    func(ctx context.Context, s counterpb.CounterClient, of noun.Keyed) (*counterpb.Result, error)
}

func (n *Noun) simple(v simple) noun.Verb {
	return noun.Verb{
		Name: v.name, Usage: v.usage, Args: "NAME", Min: 1, Max: 1, Flags: []cli.Flag{regionFlag()}, About: aboutName + v.about,
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, counterApp)
			if v.warning != "" {
				if err := n.Confirm(c.Args().First(), v.warning); err != nil {
					return err
				}
			}
			return n.changed(ctx, v.name, of.Full, func(ctx context.Context, s counterpb.CounterClient) (*counterpb.Result, error) {
				return v.call(ctx, s, of)
			})
		},
	}
}

func (n *Noun) create() noun.Verb {
	return n.simple(simple{
		name: "create", usage: "make a counter at 0", about: "Only needed where a first use makes none.",
		call: func(ctx context.Context, s counterpb.CounterClient, of noun.Keyed) (*counterpb.Result, error) {
			return s.Create(ctx, &counterpb.CreateRequest{Group: of.Group, Region: of.Region, Create: &counterpb.Create{Key: of.Key}})
		},
	})
}

func (n *Noun) reset() noun.Verb {
	return n.simple(simple{
		name: "reset", usage: "take off what was counted", warning: "what was counted is taken off",
		about: "Takes off what this region knows now. What other regions count meanwhile stays, and so do the windows.",
		call: func(ctx context.Context, s counterpb.CounterClient, of noun.Keyed) (*counterpb.Result, error) {
			return s.Reset(ctx, &counterpb.ResetRequest{Group: of.Group, Region: of.Region, Reset_: &counterpb.Reset{Key: of.Key}})
		},
	})
}

func (n *Noun) remove() noun.Verb {
	return n.simple(simple{
		name: "delete", usage: "remove a counter", warning: "the counter and its windows are removed, in all regions",
		about: "What other regions count before they hear of it goes, too. Counting begins again at 0.",
		call: func(ctx context.Context, s counterpb.CounterClient, of noun.Keyed) (*counterpb.Result, error) {
			return s.Delete(ctx, &counterpb.DeleteRequest{Group: of.Group, Region: of.Region, Delete: &counterpb.Delete{Key: of.Key}})
		},
	})
}

func (n *Noun) transfer() noun.Verb {
	return noun.Verb{
		Name: "transfer", Usage: "give another region rights to subtract", Args: "NAME REGION AMOUNT", Min: 3, Max: 3, Flags: []cli.Flag{noun.Region()},
		About: aboutName + "A region subtracts from a bounded counter only what it added or was given.",
		Run: func(ctx context.Context, c *cli.Context) error {
			amount, err := strconv.ParseUint(c.Args().Get(2), 10, 63)
			if err != nil || amount == 0 {
				return noun.Fault(noun.Usage, "%q is no amount: transfer 1 or more", c.Args().Get(2))
			}
			of, err := n.one(ctx, noun.KeyedBy(c, counterApp))
			if err != nil {
				return err
			}
			return n.changed(ctx, "transfer rights of", of.Full, func(ctx context.Context, s counterpb.CounterClient) (*counterpb.Result, error) {
				return s.Transfer(ctx, &counterpb.TransferRequest{Group: of.Group, Region: of.Region, Transfer: &counterpb.Transfer{Key: of.Key, To: c.Args().Get(1), Amount: amount}})
			})
		},
	}
}

// one says which region's group is meant, as nobody else may: whose rights they are.
func (n *Noun) one(ctx context.Context, of noun.Keyed) (noun.Keyed, error) {
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	all, err := n.Groups(ctx, of.Group)
	if err != nil {
		return of, noun.Doing("look for group "+of.Group, err)
	}
	g, err := noun.One(all, of.Group, of.Region)
	of.Region = g.GetRegion()
	return of, err
}

func (n *Noun) retire() noun.Verb {
	return noun.Verb{
		Name: "retire-region", Usage: "end a region that will not come back", Args: "GROUP REGION", Min: 2, Max: 2, Flags: []cli.Flag{regionFlag()},
		About: "What the region counted stays. What it says from now on is refused, and windows no longer wait for it. If it is alive after " +
			"all, it counts on as a new incarnation.",
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, counterApp)
			region := c.Args().Get(1)
			if err := n.Confirm(region, "what the region says from now on is refused"); err != nil {
				return err
			}
			_, err := n.change(ctx, "retire region "+region+" of", of.Full, func(ctx context.Context, s counterpb.CounterClient) (*counterpb.Result, error) {
				return s.Retire(ctx, &counterpb.RetireRequest{Group: of.Group, Region: of.Region, Retire: &counterpb.Retire{Region: region}})
			})
			if err != nil {
				return err
			}
			n.Say("region %s of %s is retired", region, of.Full)
			return nil
		},
	}
}
