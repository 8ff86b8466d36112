package chaos

import (
	"context"

	"github.com/drumline/drumline/client"
)

// Clients is a fleet's kv groups behind the Go client.
type Clients struct {
	// Client to use; the caller closes it.
	*client.Client
}

var _ Store = Clients{}

// Put stores a value.
func (c Clients) Put(ctx context.Context, group, key, value string) error {
	_, err := c.KV(group).Put(ctx, []byte(key), []byte(value))
	return err
}

// Get returns a value; empty when there is none.
func (c Clients) Get(ctx context.Context, group, key string) (string, error) {
	entry, _, err := c.KV(group).Get(ctx, []byte(key))
	return string(entry.Value), err
}

// Unknown tells whether a Put that failed with err may have taken effect.
func (Clients) Unknown(err error) bool { return client.OutcomeOf(err) == client.Unknown }
