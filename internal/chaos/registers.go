package chaos

import (
	"context"
	"strconv"
	"sync/atomic"

	"github.com/anishathalye/porcupine"
)

// Store is a fleet's key-value groups as an application sees them.
type Store interface {
	// Put stores a value.
	Put(ctx context.Context, group, key, value string) error
	// Get returns a value; empty when there is none.
	Get(ctx context.Context, group, key string) (string, error)
	// Unknown tells whether a Put that failed with err may have taken effect.
	Unknown(err error) bool
}

// registers is a store's keys: clients write to and read them in turn.
type registers struct {
	store Store
	next  atomic.Int64
}

// input is what a client asked of a key: to write value, or to read.
type input struct {
	write bool
	value string
}

// model: a read returns the last write.
func (*registers) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, in, out any) (bool, any) {
			if i := in.(input); i.write {
				return true, i.value
			}
			return out.(string) == state.(string), state
		},
		DescribeOperation: func(in, out any) string {
			if i := in.(input); i.write {
				return "put " + i.value
			}
			return "get " + out.(string)
		},
	}
}

func (r *registers) operate(ctx context.Context, p *Part, _, n int) operation {
	o := operation{changes: n%2 == 0, in: input{}, out: ""}
	var err error
	if o.changes {
		value := strconv.FormatInt(r.next.Add(1), 10)
		o.in = input{write: true, value: value}
		err = r.store.Put(ctx, p.Group, p.Key, value)
	} else {
		o.out, err = r.store.Get(ctx, p.Group, p.Key)
	}
	switch {
	case err == nil:
	case r.store.Unknown(err):
		o.outcome = unknown
	default:
		o.outcome = notApplied
	}
	return o
}

func (r *registers) last(ctx context.Context, p *Part) (operation, error) {
	out, err := r.store.Get(ctx, p.Group, p.Key)
	return operation{in: input{}, out: out}, err
}
