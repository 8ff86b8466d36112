package replicas

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

// counters counts orders by kind and result.
type counters struct {
	mu sync.Mutex
	n  map[OrderCount]uint64
}

func (c *counters) count(o *drummerpb.Order, r *drummerpb.OrderResult) {
	k := OrderCount{Kind: kindOf(o), Result: resultOf(r)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[OrderCount]uint64)
	}
	c.n[k]++
}

// OrderCounts returns how many orders of each kind ended how.
func (k *Keeper) OrderCounts() map[OrderCount]uint64 {
	k.tell.mu.Lock()
	defer k.tell.mu.Unlock()
	return maps.Clone(k.tell.n)
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

// kindOf is the word for what an order orders.
func kindOf(o *drummerpb.Order) string {
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
	}
	return "none"
}
