package duty

import (
	"context"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// Membership is the task that reads a group's membership, linearizably, when a
// leadership begins and after each change, and tells it. The supervisor decides
// removals on nothing else.
func Membership(
	read func(ctx context.Context, g ids.Group) (raft.Membership, error),
	tell func(s raft.Status, m raft.Membership),
) Task {
	return Task{
		Name:  "membership",
		After: []raft.EventKind{raft.EventMembership},
		Run: func(ctx context.Context, s raft.Status) error {
			m, err := read(ctx, s.Group)
			if err != nil {
				return err
			}
			tell(s, m)
			return nil
		},
	}
}
