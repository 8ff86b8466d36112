package raft

import (
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/raft/refusal"
)

// requestFault makes a fault of an error with which dragonboat refused a request,
// before anything of it could happen.
func (r *replica) requestFault(err error) error {
	return fault.Wrap(err, refusal.Reason(err), "group %s", r.spec.Name).InGroup(r.spec.Name)
}
