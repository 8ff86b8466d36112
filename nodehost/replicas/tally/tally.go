// Package tally counts the orders that a host was given, by what they order and how they
// ended, for its metrics.
package tally

import (
	"maps"
	"sync"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// OrderCount names what is counted of orders.
type OrderCount struct {
	// Kind is start, destroy, open, seal, change, catch-up, transfer, raise or none.
	Kind string
	// Result is ok, refused or later.
	Result string
}

// Counters count orders by kind and result.
type Counters struct {
	mu sync.Mutex
	n  map[OrderCount]uint64
}

// Count counts one order that ended.
func (c *Counters) Count(o *drummerpb.Order, r *drummerpb.OrderResult) {
	k := OrderCount{Kind: KindOf(o), Result: resultOf(r)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[OrderCount]uint64)
	}
	c.n[k]++
}

// All returns how many orders of each kind ended how.
func (c *Counters) All() map[OrderCount]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}

func resultOf(r *drummerpb.OrderResult) string {
	switch {
	case r.GetOk():
		return "ok"
	case r.GetRefused():
		return "refused"
	}
	return "later"
}

// KindOf is the word for what an order orders.
func KindOf(o *drummerpb.Order) string {
	switch o.GetBody().(type) {
	case *drummerpb.Order_Start:
		return "start"
	case *drummerpb.Order_Destroy:
		return "destroy"
	case *drummerpb.Order_Open:
		return "open"
	case *drummerpb.Order_Seal:
		return "seal"
	case *drummerpb.Order_Raise:
		return "raise"
	case *drummerpb.Order_Change:
		return "change"
	case *drummerpb.Order_CatchUp:
		return "catch-up"
	case *drummerpb.Order_Transfer:
		return "transfer"
	case *drummerpb.Order_Retire:
		return "retire"
	case *drummerpb.Order_Load:
		return "load"
	case *drummerpb.Order_Tune:
		return "tune"
	}
	return "none"
}
