package sequence

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
)

// Fields of sequencepb.Command that are operations of hosts alone: configure and advance.
const (
	configureField = 16
	advanceField   = 18
)

// follow is how groups follow the app's configuration: the options of a template are
// sequencepb.Settings.
func follow() *statemachines.Follow {
	return &statemachines.Follow{
		Command:  configureCommand,
		Query:    []byte{0x1a, 0}, // a sequencepb.Query with an empty status
		Revision: revisionIn,
	}
}

// CheckSettings says what is wrong with the settings of a template, or nil.
func CheckSettings(s *sequencepb.Settings) error {
	if f := s.GetFamily(); f < 0 || f > mostFamily {
		return refusal(fmt.Sprintf("family is %d, want 0 to %d", f, mostFamily))
	}
	return CheckDefinition(s.GetDefaults())
}

// mostFamily is the last kind of family that there is.
const mostFamily = sequencepb.Family_FAMILY_YES

// configureCommand makes the command of a revision. It checks the options first, so that
// no group gets settings by which it could make no sequence.
func configureCommand(revision uint64, options []byte) ([]byte, error) {
	s := &sequencepb.Settings{}
	if err := proto.Unmarshal(options, s); err != nil {
		return nil, fmt.Errorf("the options are no settings: %w", err)
	}
	if err := CheckSettings(s); err != nil {
		return nil, err
	}
	return proto.Marshal(&sequencepb.Command{Op: &sequencepb.Command_Configure{Configure: &sequencepb.Configure{Revision: revision, Settings: s}}})
}

// revisionIn reads the answer to status.
func revisionIn(answer []byte) (uint64, error) {
	a := &sequencepb.Answer{}
	if err := proto.Unmarshal(answer, a); err != nil {
		return 0, fmt.Errorf("the answer is none of app sequence: %w", err)
	}
	return a.GetGroup().GetRevision(), nil
}

// resumption makes the command that opens a group after a recovery: each of its sequences,
// and those to come, skip what may have been handed out unseen.
func resumption(margin uint64) ([]byte, error) {
	r := &sequencepb.Resume{Margin: min(max(margin, 1), MaxCount)}
	return proto.Marshal(&sequencepb.Command{Op: &sequencepb.Command_Resume{Resume: r}})
}
