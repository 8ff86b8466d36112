package counter

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/wire"
)

// Bounds of settings.
const (
	maxRemember   = 1 << 20
	maxRememberMS = 7 * 24 * 3_600_000
	minForgetMS   = 10_000
)

// follow is how groups follow the app's configuration: the options of a template are
// counterpb.Settings.
func follow() *statemachines.Follow {
	return &statemachines.Follow{
		Command:  configureCommand,
		Query:    []byte{0x2a, 0}, // a counterpb.Query with an empty status
		Revision: revisionIn,
	}
}

// CheckSettings says what is wrong with the settings of a template, or nil.
func CheckSettings(s *counterpb.Settings) error {
	if s.GetRemember() > maxRemember {
		return wire.Refuse("remember is %d, at most %d are allowed", s.GetRemember(), maxRemember)
	}
	if s.GetRememberMs() > maxRememberMS {
		return wire.Refusal("remember_ms is more than a week")
	}
	if f := s.GetForgetMs(); f > maxRememberMS || f > 0 && f < minForgetMS {
		return wire.Refusal("forget_ms is less than ten seconds or more than a week")
	}
	if s.GetBounded() && s.GetOnlyUp() {
		return wire.Refusal("a counter that only goes up needs no bound: leave one of the two away")
	}
	seen := map[int]bool{}
	for _, k := range s.GetKeep() {
		r := index(k.GetResolution())
		switch {
		case r >= resolutions || k.GetResolution() < 0:
			return wire.Refuse("there is no resolution %d", k.GetResolution())
		case k.GetWindows() > maxWindows:
			return wire.Refuse("%d windows are to be kept, at most %d are allowed", k.GetWindows(), maxWindows)
		case seen[r]:
			return wire.Refusal("keep names a resolution twice")
		}
		seen[r] = true
	}
	return nil
}

// configureCommand makes the command of a revision.
func configureCommand(revision uint64, options []byte) ([]byte, error) {
	s := &counterpb.Settings{}
	if err := proto.Unmarshal(options, s); err != nil {
		return nil, fmt.Errorf("the options are no settings: %w", err)
	}
	if err := CheckSettings(s); err != nil {
		return nil, err
	}
	return proto.Marshal(&counterpb.Command{Op: &counterpb.Command_Configure{Configure: &counterpb.Configure{Revision: revision, Settings: s}}})
}

// revisionIn reads the answer to status.
func revisionIn(answer []byte) (uint64, error) {
	a := &counterpb.Answer{}
	if err := proto.Unmarshal(answer, a); err != nil {
		return 0, fmt.Errorf("the answer is none of app counter: %w", err)
	}
	return a.GetGroup().GetRevision(), nil
}

func (m *Machine) configure(c *counterpb.Configure) *counterpb.Result {
	if c.GetRevision() > m.revision {
		m.configureTo(c.GetRevision(), c.GetSettings())
	}
	return m.done(nil)
}

// configureTo takes settings that were checked, with all defaults filled in.
func (m *Machine) configureTo(revision uint64, s *counterpb.Settings) {
	m.revision, m.keep = revision, defaultKeep()
	for _, k := range s.GetKeep() {
		m.keep[index(k.GetResolution())] = uint64(k.GetWindows())
	}
	m.settings = &counterpb.Settings{
		NoAutoCreate: s.GetNoAutoCreate(), MaxKeys: or(s.GetMaxKeys(), defaultKeys), Bounded: s.GetBounded(), OnlyUp: s.GetOnlyUp(),
		Remember: or(s.GetRemember(), defaultRemember), RememberMs: or(s.GetRememberMs(), defaultRememberMS),
		ForgetMs: or(s.GetForgetMs(), defaultForgetMS),
	}
	for r, n := range m.keep {
		m.settings.Keep = append(m.settings.Keep, &counterpb.Keep{Resolution: counterpb.Resolution(r + 1), Windows: uint32(n)})
	}
}

func or(v, instead uint64) uint64 {
	if v == 0 {
		return instead
	}
	return v
}
