package client

import (
	"context"
	"strings"

	"github.com/drumline/drumline/client/counter"
)

// Counter returns the client of a counter: counter/NAME, or counter/NAME#KEY for one of a
// family. Close it before the Client.
func (c *Client) Counter(name string, opts ...counter.Option) *counter.Counter {
	return c.CounterIn("", name, opts...)
}

// CounterIn is Counter for one that several regions count: it counts in that region.
func (c *Client) CounterIn(region, name string, opts ...counter.Option) *counter.Counter {
	group, key, _ := strings.Cut(name, "#")
	return counter.New(counterGroup{c.Group(group).In(region)}, name, key, opts...)
}

// counterGroup proposes for a counter. Its commands are applied exactly once however often
// they are sent, so also those of unknown outcome are sent again.
type counterGroup struct{ g *Group }

// Propose implements counter.Group.
func (c counterGroup) Propose(ctx context.Context, cmd []byte) ([]byte, bool, error) {
	r, err := c.g.Propose(ctx, cmd)
	return r.Data, mayHelp(err), err
}

// Read implements counter.Group.
func (c counterGroup) Read(ctx context.Context, query []byte) ([]byte, error) {
	return c.g.Read(ctx, query)
}
