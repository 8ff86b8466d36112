package client

import "github.com/drumline/drumline/client/capacity"

// WithID names the client where the cluster keeps something for it, leases of capacity
// for example. It must be unique in the cluster; by default it is made of host, process
// and chance.
func WithID(id string) Option { return func(o *options) { o.id = id } }

// Resource begins to lease a share of a resource, like db/main: of the group
// capacity/db/main, which is made on first use if the configuration has a template for
// it. It does not wait; Await of the Resource does. All resources of a Client share
// requests. Release or Close gives the share back.
func (c *Client) Resource(name string, opts ...capacity.Option) (*capacity.Resource, error) {
	c.mu.Lock()
	if c.closing || c.closed {
		c.mu.Unlock()
		return nil, closedError()
	}
	if c.leases == nil {
		c.leases = capacity.New(c.Hosts(), capacity.WithID(c.id))
	}
	leases := c.leases
	c.mu.Unlock()
	return leases.Resource(name, opts...)
}

// giveBack releases all leases, while calls still work.
func (c *Client) giveBack() {
	c.mu.Lock()
	c.closing = true
	leases := c.leases
	c.mu.Unlock()
	if leases != nil {
		leases.Close()
	}
}
