package route

import (
	"context"
	"sync"

	"github.com/drumline/drumline/internal/ids"
)

// proposeAll proposes commands to the replica of this host.
func (r *Router) proposeAll(ctx context.Context, g ids.Group, cmds [][]byte) []Outcome {
	out := make([]Outcome, len(cmds))
	var wg sync.WaitGroup
	for i, cmd := range cmds {
		wg.Go(func() { out[i].Result, out[i].Err = r.o.Raft.Propose(ctx, g, cmd) })
	}
	wg.Wait()
	return out
}
