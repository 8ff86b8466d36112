package leases

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client/capacity"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shell"
)

func (n *Noun) shell() Verb {
	return Verb{
		Name: "shell", Usage: "lease for clients of your choice, interactively", Long: true,
		About: "Doorman's doorman_shell: get, release, show, master, help and quit. Each client is one of its own, whose leases are " +
			"refreshed until you leave. Lines are edited, completed with the tab key and kept in a history; from a file or a pipe " +
			"they are read without a prompt.",
		Run: func(ctx context.Context, _ *cli.Context) error {
			conn, err := n.Console.Client(ctx)
			if err != nil {
				return err
			}
			in, out, errs, terminal := n.Console.Streams()
			crowd := &crowd{conn: conn.Hosts(), patience: n.Console.Timeout(), clients: map[string]*member{}}
			defer crowd.close()
			lines := shell.Script(in)
			if terminal {
				lines = shell.Terminal(historyFile(), crowd)
			}
			return (&shell.Shell{Leaser: crowd, Out: out, Err: errs}).Run(ctx, lines)
		},
	}
}

// historyFile is where what was typed is kept; empty if there is no place for it.
func historyFile() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "drummer-cmd", "capacity-shell.history")
}

// crowd is the clients of a session.
type crowd struct {
	conn     grpc.ClientConnInterface
	patience time.Duration
	clients  map[string]*member
}

// member is one client and what it leases.
type member struct {
	*capacity.Client
	resources map[string]*capacity.Resource
}

// Get makes a client want that much of a resource.
func (c *crowd) Get(ctx context.Context, name, resource string, wants float64) error {
	m := c.clients[name]
	if m == nil {
		if name == "" {
			return errors.New("the client's name is empty")
		}
		m = &member{Client: capacity.New(c.conn, capacity.WithID(name)), resources: map[string]*capacity.Resource{}}
		c.clients[name] = m
	}
	r := m.resources[resource]
	if r == nil {
		var err error
		if r, err = m.Resource(resource, capacity.WithWants(wants)); err != nil {
			return err
		}
		m.resources[resource] = r
	} else if err := r.SetWants(wants); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	err := r.Await(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("no answer yet, the client goes on asking: %w", err)
	}
	r.Release()
	delete(m.resources, resource)
	return fmt.Errorf("lease %s: %w", readable(resource), plain(err))
}

// plain is what a server said, without gRPC's own words.
func plain(err error) error {
	var said interface{ GRPCStatus() *status.Status }
	if errors.As(err, &said) {
		return errors.New(said.GRPCStatus().Message())
	}
	return err
}

// Release gives a resource back.
func (c *crowd) Release(_ context.Context, name, resource string) error {
	m := c.clients[name]
	if m == nil || m.resources[resource] == nil {
		return fmt.Errorf("client %q holds nothing of %q", name, resource)
	}
	m.resources[resource].Release()
	delete(m.resources, resource)
	return nil
}

// Holdings is what all clients hold.
func (c *crowd) Holdings() []shell.Holding {
	var out []shell.Holding
	for name, m := range c.clients {
		for resource, r := range m.resources {
			out = append(out, shell.Holding{Client: name, Resource: resource, Capacity: r.State().Capacity})
		}
	}
	return out
}

// Masters maps each client to whom it asks: every host is as good as any other.
func (c *crowd) Masters() map[string]string {
	out := map[string]string{}
	for name := range c.clients {
		out[name] = "any host"
	}
	return out
}

// close gives everything back.
func (c *crowd) close() {
	var work sync.WaitGroup
	for _, m := range c.clients {
		work.Go(m.Close)
	}
	work.Wait()
}

// sortedKeys are the keys of a map in order.
func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
