package capacity

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
)

// follow is how groups follow the app's configuration: the options of a template are a
// capacitypb.Definition.
func follow() *statemachines.Follow {
	return &statemachines.Follow{
		Command:  configureCommand,
		Query:    []byte{0x0a, 0}, // a capacitypb.Query with an empty describe
		Revision: revisionIn,
	}
}

// configureCommand makes the command of a revision; it checks the options first, so that
// a command which every group would refuse is never proposed.
func configureCommand(revision uint64, options []byte) ([]byte, error) {
	d := &capacitypb.Definition{}
	if err := proto.Unmarshal(options, d); err != nil {
		return nil, fmt.Errorf("the options are no definition: %w", err)
	}
	if err := CheckDefinition(d); err != nil {
		return nil, err
	}
	return proto.Marshal(&capacitypb.Command{Op: &capacitypb.Command_Configure{Configure: &capacitypb.Configure{Revision: revision, Definition: d}}})
}

// revisionIn reads the answer to describe.
func revisionIn(answer []byte) (uint64, error) {
	a := &capacitypb.Answer{}
	if err := proto.Unmarshal(answer, a); err != nil {
		return 0, fmt.Errorf("the answer is none of app capacity: %w", err)
	}
	return a.GetSummary().GetRevision(), nil
}
