// Package rescue is the commands against the loss of groups: recover after a loss of
// quorum, backup, restore, clone, and purge of what was kept.
package rescue

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// Noun makes the commands.
type Noun struct{ noun.Console }

// GroupVerbs are those about groups.
func (n *Noun) GroupVerbs() []noun.Verb {
	return []noun.Verb{n.recover(), n.backup(), n.restore(), n.clone(), n.purge()}
}

// marginUsage is of the same flag of two commands.
const marginUsage = "sequences skip `N` numbers (of time and timestamps: milliseconds): give more than were handed out unseen, or some come twice"

// drummers is the operators' service.
func (n *Noun) drummers(ctx context.Context) (drummerpb.DrummerClient, error) {
	c, err := n.Client(ctx)
	if err != nil {
		return nil, err
	}
	return c.Drummer(), nil
}

// awaitServing waits until the groups of full names serve under these numbers or higher ones: a launch
// that is begun anew has another.
func (n *Noun) awaitServing(ctx context.Context, ids map[string]uint64, still string) error {
	return n.Await(ctx, noun.Goal{What: "groups serving", Still: still, Total: len(ids), Look: func(ctx context.Context) (int, []string, error) {
		all, err := n.Groups(ctx, "")
		if err != nil {
			return 0, nil, err
		}
		state := map[string]string{}
		for _, g := range all {
			full := statemachines.NameOf(g)
			if id := ids[full]; id != 0 && g.GetId() >= id {
				state[full] = g.GetState()
			}
		}
		var missing []string
		for name := range ids {
			if s := state[name]; s != "ok" && s != "degraded" {
				missing = append(missing, name+": "+s)
			}
		}
		slices.Sort(missing)
		return len(ids) - len(missing), missing, nil
	}})
}

// word is a number of things as one word, to be typed.
func word(count int, one string) string {
	if count == 1 {
		return one
	}
	return strconv.Itoa(count) + "-groups"
}

func plural(count int) string {
	if count == 1 {
		return "1 group"
	}
	return fmt.Sprintf("%d groups", count)
}
