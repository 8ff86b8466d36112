package agent

import (
	"context"
	"slices"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// opine tells which hosts this one does not hear by gossip: at once, and when it changes. In
// a fleet that is well that is a message without an id, once a session.
func (s *session) opine(ctx context.Context) error {
	if s.a.o.Unheard == nil {
		return nil
	}
	look := time.NewTicker(s.beat)
	defer look.Stop()
	var said []string
	for first := true; ; first = false {
		if now := slices.Sorted(slices.Values(s.a.o.Unheard())); first || !slices.Equal(now, said) {
			said = now
			s.post(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Neighbours{Neighbours: &drummerpb.Neighbours{Unheard: now}}})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}
