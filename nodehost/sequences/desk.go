package sequences

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

// farAhead is how far a client's clock may be ahead of the host's when it leases a
// worker: what it says is what others must wait for later.
const farAhead = time.Minute

// desk packs commands and queries, and unpacks what groups answer.
type desk struct {
	router Router
	now    func() time.Time
}

// change proposes a command and unpacks the machine's answer. Only what the machine
// calls invalid is an error; all other outcomes are answers.
func (d *desk) change(ctx context.Context, group string, cmd *sequencepb.Command) (*sequencepb.Result, error) {
	data, err := d.pack(group, cmd)
	if err != nil {
		return nil, err
	}
	m := route.Many{Group: refs.Of(group), Items: [][]byte{data}, Repeatable: repeatable(cmd.GetCaller())}
	out, _ := d.router.ProposeMany(ctx, m)
	if out[0].Err != nil {
		return nil, out[0].Err
	}
	return unpack(group, out[0].Result.Data)
}

// repeatable tells whether a command may be proposed again when the outcome of a try is
// not known: one of a client that was applied is answered the same.
func repeatable(c *sequencepb.Caller) bool { return c != nil }

// pack checks a command and puts it into bytes, with the time.
func (d *desk) pack(group string, cmd *sequencepb.Command) ([]byte, error) {
	return d.packTo(nil, group, cmd)
}

// packTo appends what pack returns, and nothing with an error.
func (d *desk) packTo(to []byte, group string, cmd *sequencepb.Command) ([]byte, error) {
	if err := checkGroup(group); err != nil {
		return to, err
	}
	if err := sequence.CheckCommand(cmd); err != nil {
		return to, fault.New(fault.Invalid, "%s", err).InGroup(group)
	}
	now := d.now()
	if said := cmd.GetLeaseWorker().GetNowMs(); said > uint64(now.Add(farAhead).UnixMilli()) {
		return to, fault.New(fault.Conflict, "the clock of the client is more than %v ahead of this host's: set it right", farAhead).InGroup(group)
	}
	cmd.NowMs = uint64(now.UnixMilli())
	data, err := proto.MarshalOptions{}.MarshalAppend(to, cmd)
	if err != nil {
		return to, fault.Wrap(err, fault.Invalid, "pack the command").InGroup(group)
	}
	return data, nil
}

// unpack reads the machine's answer.
func unpack(group string, data []byte) (*sequencepb.Result, error) {
	r := &sequencepb.Result{}
	if err := proto.Unmarshal(data, r); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app sequence", group).InGroup(group)
	}
	if r.GetOutcome() == sequencepb.Outcome_OUTCOME_INVALID {
		return nil, fault.New(fault.Invalid, "group %s: %s", group, r.GetDetail()).InGroup(group)
	}
	return r, nil
}

// query reads and unpacks the machine's answer.
func (d *desk) query(ctx context.Context, group string, q *sequencepb.Query) (*sequencepb.Answer, error) {
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	if err := sequence.CheckQuery(q); err != nil {
		return nil, fault.New(fault.Invalid, "%s", err).InGroup(group)
	}
	data, err := proto.Marshal(q)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "pack the query").InGroup(group)
	}
	resp, err := d.router.Read(ctx, &hostpb.ReadRequest{Group: refs.Of(group), Query: data})
	if err != nil {
		return nil, err
	}
	a := &sequencepb.Answer{}
	if err := proto.Unmarshal(resp.GetData(), a); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app sequence", group).InGroup(group)
	}
	return a, nil
}

// checkGroup refuses groups that are none of app sequence.
func checkGroup(group string) error {
	app, err := statemachines.AppOf(group)
	if err != nil {
		return fault.New(fault.Invalid, "%s", err)
	}
	if app != sequence.Name {
		return fault.New(fault.Invalid, "group %s is of app %s, and this service is for groups of app %s", group, app, sequence.Name).InGroup(group)
	}
	return nil
}
