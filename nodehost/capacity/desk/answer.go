package desk

import (
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route"
)

// share gives the asks in one command their parts of its outcome.
func share(group string, o route.Outcome, in []span, out []fate) {
	n := 0
	for _, s := range in {
		n += s.n
	}
	all, err := GrantsOf(group, o, n)
	for _, s := range in {
		f := &out[s.ask]
		if err != nil {
			f.Answer, f.Err = nil, err
			continue
		}
		f.Answer, all = appendAll(f.Answer, all[:s.n:s.n]), all[s.n:]
	}
}

// appendAll is append, but takes the second as it is if the first is empty.
func appendAll(to, more []*capacitypb.Grant) []*capacitypb.Grant {
	if to == nil {
		return more
	}
	return append(to, more...)
}

// pack encodes a command. Its strings were checked to be UTF-8, which is all that can fail:
// a command that cannot be packed is an empty one, which the machine refuses.
func pack(d *capacitypb.Decide) []byte {
	data, err := proto.Marshal(&capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: d}})
	if err != nil {
		return nil
	}
	return data
}

// GrantsOf decodes what a group of app capacity answered to a decide of n requests: as many
// grants, or an error if it refused the command.
func GrantsOf(group string, o route.Outcome, n int) ([]*capacitypb.Grant, error) {
	res, err := ResultOf(group, o)
	if err != nil {
		return nil, err
	}
	if res.GetOutcome() != capacitypb.Outcome_OUTCOME_OK { // of all requests
		all := make([]*capacitypb.Grant, n)
		for i := range all {
			all[i] = &capacitypb.Grant{Outcome: res.GetOutcome()}
		}
		return all, nil
	}
	if len(res.GetGrants()) != n {
		return nil, fault.New(fault.Internal, "group %s answered %d requests of %d", group, len(res.GetGrants()), n).InGroup(group)
	}
	return res.GetGrants(), nil
}

// ResultOf decodes what a group of app capacity answered to a command; what it refused is
// an error.
func ResultOf(group string, o route.Outcome) (*capacitypb.Result, error) {
	if o.Err != nil {
		return nil, o.Err
	}
	res := &capacitypb.Result{}
	if err := proto.Unmarshal(o.Result.Data, res); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app capacity", group).InGroup(group)
	}
	if res.GetOutcome() == capacitypb.Outcome_OUTCOME_INVALID {
		return nil, fault.New(fault.Invalid, "group %s: %s", group, res.GetDetail()).InGroup(group)
	}
	return res, nil
}
