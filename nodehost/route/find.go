package route

import (
	"context"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/nodehost/route/refs"
)

// Knows tells whether this host knows where the group of a full name is, asking nobody.
func (r *Router) Knows(full string) bool { return r.known(refs.Of(full)) != nil }

// Find tells where a group is as this host knows it, asking a drummer only if it does
// not, with the patience of a request: what a request would be told of a group that does
// not exist, Find says before anything is proposed.
func (r *Router) Find(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	if err := refs.Check(ref); err != nil {
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
