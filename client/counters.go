package client

import "context"

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
