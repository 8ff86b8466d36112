package replicas

import (
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
)

// Event is what a Core is told.
type Event interface{ event() }

// The events of a Core.
type (
	// Boot lets the replicas of the manifest start.
	Boot struct{}
	// Tick lets time pass; due retries and late starts are seen to.
	Tick struct{}
	// Welcomed tells of a supervisor that took this host in: older ones are deposed. What
	// is here of Banned groups is retired.
	Welcomed struct {
		Fence  Fence
		Banned []ids.Group
	}
	// Ordered is an order; Token comes back in its Answer.
	Ordered struct {
		Token uint64
		Order *drummerpb.Order
	}
	// Started ends a Start effect.
	Started struct {
		Key Key
		Err string
	}
	// Up tells that a replica has recovered its state and takes part.
	Up struct{ Key Key }
	// Fell tells that a replica stopped by itself: it has seen its own removal.
	Fell struct{ Key Key }
	// Slept tells that raft took a replica out of memory, or that it is back.
	Slept struct {
		Key      Key
		Unloaded bool
	}
	// Loads tells that raft is about to bring a replica back into memory; Token comes
	// back in its Go.
	Loads struct {
		Key   Key
		Token uint64
	}
	// Destroyed ends a Destroy effect.
	Destroyed struct {
		Key Key
		Err string
	}
	// Executed ends an Execute effect.
	Executed struct {
		Token  uint64
		Order  *drummerpb.Order
		Result *drummerpb.OrderResult
	}
)

func (Boot) event()      {}
func (Tick) event()      {}
func (Welcomed) event()  {}
func (Ordered) event()   {}
func (Started) event()   {}
func (Up) event()        {}
func (Fell) event()      {}
func (Slept) event()     {}
func (Loads) event()     {}
func (Destroyed) event() {}
func (Executed) event()  {}

// Effect is what a Core wants done.
type Effect interface{ effect() }

// The effects of a Core, besides Save.
type (
	// Start starts a replica, Again one that may run: it is stopped first. Its end is the
	// event Started.
	Start struct {
		Record Record
		Again  bool
	}
	// Destroy stops a replica and removes its data; its end is the event Destroyed.
	Destroy struct{ Key Key }
	// Execute does an order that raft carries out; its end is the event Executed.
	Execute struct {
		Token uint64
		Order *drummerpb.Order
	}
	// Answer answers an order; without a Result the order is dropped silently,
	// because the same one is being executed already.
	Answer struct {
		Token  uint64
		Result *drummerpb.OrderResult
	}
	// Changed tells that what is to be reported of a replica may have changed.
	Changed struct {
		Key Key
		// Gone: it is not in the manifest and its data is removed.
		Gone bool
	}
	// Go lets raft load the replica that it told of.
	Go struct{ Token uint64 }
	// Booted tells that every replica of the manifest was started or is kept down.
	Booted struct{}
)

func (Save) effect()    {}
func (Start) effect()   {}
func (Destroy) effect() {}
func (Execute) effect() {}
func (Answer) effect()  {}
func (Changed) effect() {}
func (Go) effect()      {}
func (Booted) effect()  {}
