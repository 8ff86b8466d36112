package route

import (
	"context"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Knows tells whether this host knows where a group is, asking nobody.
func (r *Router) Knows(name string) bool { return r.known(&hostpb.GroupRef{Name: name}) != nil }

// Find tells where a group is as this host knows it, asking a drummer only if it does
// not, with the patience of a request: what a request would be told of a group that does
// not exist, Find says before anything is proposed.
func (r *Router) Find(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	if err := checkRef(ref); err != nil {
		return nil, err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	w := &walk{r: r, o: &op{ref: ref}, begun: time.Now()}
	if err := w.find(ctx); err != nil {
		return nil, err
	}
	return w.where, nil
}
