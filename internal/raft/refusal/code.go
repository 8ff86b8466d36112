package refusal

import (
	"errors"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/statemachines"
)

// Code makes a fault of an entry's result in the group of that name.
func Code(name string, c machine.Code) *fault.Error {
	var f *fault.Error
	switch c {
	case machine.CodeNotOpen:
		f = fault.New(fault.NotOpen, "group %s is being launched", name)
	case machine.CodeSealed:
		f = fault.New(fault.Sealed, "group %s was deleted", name)
	case machine.CodeRefused:
		f = fault.New(fault.Conflict, "group %s refused a piece of the state being loaded: out of order, damaged, or already open", name)
	default:
		f = fault.New(fault.Internal, "group %s could not decode an machine.Entry (result %d)", name, c)
	}
	return f.InGroup(name)
}

// Read makes a fault of an error with which a machine answered a query, or was asked for
// its view.
func Read(name string, err error) error {
	var le machine.LifeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &le):
		return Code(name, machine.Code(le))
	case errors.Is(err, machine.ErrClosed):
		return Stopping(name)
	case errors.Is(err, statemachines.ErrInvalidQuery):
		return fault.Wrap(err, fault.Invalid, "group %s refused the query", name).InGroup(name)
	case errors.Is(err, machine.ErrNoView):
		return fault.Wrap(err, fault.Invalid, "group %s", name).InGroup(name)
	}
	return fault.Wrap(err, fault.Internal, "read group %s", name).InGroup(name)
}

// Stopping is the fault of a replica that is being stopped.
func Stopping(name string) *fault.Error {
	return fault.New(fault.Unavailable, "the replica of group %s here is being stopped; try another host", name).InGroup(name)
}
