// Package sequences is a host's services for groups of app sequence: the native service
// Sequence, and RRAPI, the wire of rr_seq's servers, so that its clients work unchanged.
//
// Every host answers for every sequence: a request becomes a command of the group, and
// the Router brings it to where the group is led. What breaks a limit is refused here
// and never travels; the machine checks again.
//
// A command of a client that was opened is applied exactly once, whoever sends it how
// often. So when the outcome of a try is not known, because the group's leader went
// away, the host tries again as long as the caller waits: a caller learns of a failover
// by the time it took, and by nothing else. Commands of nobody are never repeated.
package sequences

import (
	"context"
	"time"

	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	rrseqpb "github.com/drumline/drumline/drummerpb/rrseq"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/nodehost/route"
)

// Router answers for every group; *route.Router does.
type Router interface {
	Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error)
	ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location)
}

var _ Router = (*route.Router)(nil)

// Options of Register.
type Options struct {
	// Router answers for every group.
	Router Router
	// Stopping is closed when the host stops: streams then end, with all that they have
	// taken answered. May be nil.
	Stopping <-chan struct{}
	// Now is the host's clock, for incarnations; nil means time.Now.
	Now func() time.Time
}

// Register registers both services.
func Register(registrar grpc.ServiceRegistrar, o Options) {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &desk{router: o.Router, now: o.Now}
	sequencepb.RegisterSequenceServer(registrar, &native{desk: d, stopping: o.Stopping})
	rrseqpb.RegisterRRAPIServer(registrar, &original{desk: d})
}
