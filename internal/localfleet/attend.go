package localfleet

import (
	"context"
	"fmt"
	"time"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// WaitAttended waits until the supervisor knows every host that runs as up and through its boot: what is
// launched before is placed on fewer hosts.
func (f *Fleet) WaitAttended(ctx context.Context, c *client.Client) error {
	want := 0
	for _, p := range f.Processes() {
		if p.Kind == KindNodeHost && p.PID != 0 {
			want++
		}
	}
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		resp, err := c.Drummer().ListHosts(ctx, &drummerpb.ListHostsRequest{})
		up := 0
		for _, h := range resp.GetHosts() {
			if h.GetState() == "up" && h.GetBoot() == nil {
				up++
			}
		}
		if err == nil && up >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return fmt.Errorf("wait for the hosts: %d of %d are up: %w", up, want, err)
		case <-poll.C:
		}
	}
}
