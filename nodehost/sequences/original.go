package sequences

import (
	"context"
	"strings"

	rrseqpb "github.com/drumline/drumline/drummerpb/rrseq"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines/sequence"
)

// original serves RRAPI. The original reports failures as the range [0,0) without an
// error, and its clients ask again at once, for ever; here they are errors, which its
// clients treat the same and people can read.
type original struct {
	rrseqpb.UnimplementedRRAPIServer
	desk *desk
}

// GRPCNextID hands out the range [from, to).
func (o *original) GRPCNextID(ctx context.Context, req *rrseqpb.NextIDRequest) (*rrseqpb.NextIDReply, error) {
	group, key := place(req.GetName())
	count := uint64(min(max(req.GetRangeSize(), 1), sequence.MaxCount))
	next := &sequencepb.Next{Key: key, Count: count, Plain: true}
	r, err := o.desk.change(ctx, group, &sequencepb.Command{Op: &sequencepb.Command_Next{Next: next}})
	if err != nil {
		return nil, err
	}
	if r.GetOutcome() != sequencepb.Outcome_OUTCOME_OK {
		return nil, refused(group, r)
	}
	from := uint64(r.GetGrant().GetFirst())
	return &rrseqpb.NextIDReply{FromId: from, ToId: from + r.GetGrant().GetCount()}, nil
}

// GRPCCurID tells the ID that would be handed out next, 1 for a name that was not used.
func (o *original) GRPCCurID(ctx context.Context, req *rrseqpb.CurIDRequest) (*rrseqpb.CurIDReply, error) {
	group, key := place(req.GetName())
	a, err := o.desk.query(ctx, group, &sequencepb.Query{Op: &sequencepb.Query_Describe{Describe: &sequencepb.Describe{Key: key}}})
	switch {
	case fault.Is(err, fault.GroupNotFound):
		return &rrseqpb.CurIDReply{CurId: 1}, nil
	case err != nil:
		return nil, err
	case len(a.GetSequences()) == 0:
		return &rrseqpb.CurIDReply{CurId: 1}, nil
	}
	i := a.GetSequences()[0]
	if i.Next == nil || i.GetNext() < 0 {
		return nil, fault.New(fault.Conflict, "sequence %s has no next ID that this call could tell: describe it", req.GetName()).InGroup(group)
	}
	return &rrseqpb.CurIDReply{CurId: uint64(i.GetNext())}, nil
}

// GRPCSetID always fails: with it, anybody could end a sequence.
func (o *original) GRPCSetID(_ context.Context, req *rrseqpb.SetIDRequest) (*rrseqpb.SetIDReply, error) {
	group, _ := place(req.GetName())
	return nil, fault.New(fault.Conflict, "IDs are not set by clients: an administrator may set a sequence, with drummer-cmd sequence set").InGroup(group)
}

// place is the group and the key of a name: what is behind the first hash sign is a
// family's key.
func place(name string) (group, key string) {
	name, key, _ = strings.Cut(name, "#")
	return sequence.Name + "/" + name, key
}

// refused is the fault of an answer that has no numbers.
func refused(group string, r *sequencepb.Result) error {
	reason := fault.Conflict
	switch r.GetOutcome() { //nolint:exhaustive // the others are of the sequence's state
	case sequencepb.Outcome_OUTCOME_NOT_FOUND:
		reason = fault.GroupNotFound
	case sequencepb.Outcome_OUTCOME_QUOTA:
		reason = fault.Busy
	}
	return fault.New(reason, "%s: %s: %s", group, outcomeName(r.GetOutcome()), r.GetDetail()).InGroup(group)
}

// outcomeName is an outcome as people read it, like "exhausted".
func outcomeName(o sequencepb.Outcome) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(o.String(), "OUTCOME_"), "_", " "))
}
