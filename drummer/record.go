package drummer

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/api"
	"github.com/drumline/drumline/drummer/api/openings"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/versions"
	"github.com/drumline/drumline/drummer/supervise"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// recordName is the name of the drummers' own group.
const recordName = fleet.AppName + "/record"

// record is the drummers' group as this process's replica has it.
type record struct {
	host    *raft.Host
	changed func()                          // called after each proposal that was answered
	first   func(ctx context.Context) error // opens the group
	// openings wakes those who wait for groups. All that opens one is proposed by the
	// drummer that leads, and so is all that waits for it.
	openings openings.Openings
}

var (
	_ supervise.Record = (*record)(nil)
	_ api.Record       = (*record)(nil)
)

// Leading tells whether this replica serves as Raft leader.
func (r *record) Leading() (term uint64, leading bool) {
	st, ok := r.host.Status(ids.DrummerGroup)
	return st.Term, ok && st.Serving
}

// TakeOver opens the group on its very first leadership, and looks at the record.
func (r *record) TakeOver(ctx context.Context) (*fleet.View, error) {
	if st, _ := r.host.Status(ids.DrummerGroup); !st.Opened {
		if err := r.first(ctx); err != nil {
			return nil, fmt.Errorf("open the fleet record: %w", err)
		}
	}
	return r.View(ctx)
}

// View is a linearizable look.
func (r *record) View(ctx context.Context) (*fleet.View, error) {
	return viewOf(r.host.View(ctx, ids.DrummerGroup))
}

// LocalView is what this replica has applied.
func (r *record) LocalView() (*fleet.View, error) {
	return viewOf(r.host.LocalView(ids.DrummerGroup))
}

func viewOf(v any, err error) (*fleet.View, error) {
	if err != nil {
		return nil, fmt.Errorf("read the fleet record: %w", elsewhere(err))
	}
	view, ok := v.(*fleet.View)
	if !ok {
		return nil, fault.New(fault.Internal, "the fleet record shows a %T", v)
	}
	return view, nil
}

// elsewhere says of a record that is not on this drummer that the others have it. That is so
// between a drummer's removal from the group and its end, and while its replica starts.
func elsewhere(err error) error {
	if fault.Is(err, fault.GroupNotFound) {
		return fault.New(fault.Unavailable, "this drummer keeps it not yet, or no more because it was removed from the drummers' group: ask another one")
	}
	return err
}

// Propose stamps the command and proposes it; this replica must lead.
func (r *record) Propose(ctx context.Context, cmd *fleetpb.Command) (*fleetpb.Result, error) {
	stamped := &fleetpb.Command{AtUnixMs: time.Now().UnixMilli(), Op: cmd.GetOp()}
	if st, _ := r.host.Status(ids.DrummerGroup); !versions.Knows(st.Version, cmd) {
		return nil, fault.New(fault.Conflict, "the record is at version %d, for some drummer runs a program that does not know all of this: upgrade it (drummer-cmd servers list names it) and ask again", st.Version)
	}
	data, err := proto.Marshal(stamped)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "encode a command of the fleet record")
	}
	answer, err := r.host.Propose(ctx, ids.DrummerGroup, data)
	if err != nil {
		return nil, fmt.Errorf("change the fleet record: %w", elsewhere(err))
	}
	r.changed()
	var result fleetpb.Result
	if err := proto.Unmarshal(answer.Data, &result); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "decode an answer of the fleet record")
	}
	if to := cmd.GetAdvance(); to.GetState() == fleetpb.GroupState_GROUP_STATE_OPEN && result.GetCode() == fleetpb.Code_CODE_OK {
		r.openings.Tell(ids.Group(to.GetGroup()))
	}
	return &result, nil
}

// Opened implements api.Record.
func (r *record) Opened(g ids.Group) (opened <-chan struct{}, leave func()) {
	return r.openings.Await(g)
}
