package hibernate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport"
)

// script drives a watch of nh-1 through seconds; silence is two.
type script struct {
	t     *testing.T
	w     *watch
	begin time.Time
	signs transport.Signs
}

func newScript(t *testing.T) *script {
	s := &script{t: t, w: newWatch(2 * time.Second), begin: time.Now()}
	s.w.follow([]ids.Host{"nh-1"})
	return s
}

func (s *script) at(second float64) time.Time {
	return s.begin.Add(time.Duration(second * float64(time.Second)))
}

// heard notes signs of life of a process.
func (s *script) heard(second float64, process uint64) {
	s.signs = transport.Signs{Process: process, Heard: s.at(second), Connections: 2}
}

func (s *script) look(second float64, want ...bool) {
	s.t.Helper()
	got := s.w.look(s.at(second), func(ids.Host) transport.Signs { return s.signs })
	require.Len(s.t, got, len(want), "at %v", second)
	for i := range want {
		require.Equal(s.t, want[i], got[i].up, "at %v", second)
	}
}

func TestSilenceIsDeath(t *testing.T) {
	s := newScript(t)
	s.look(0)
	require.False(t, s.w.up("nh-1"), "never heard")
	s.heard(0.5, 1)
	s.look(0.5, true)
	s.look(1)
	s.look(2)
	s.look(2.4)
	require.True(t, s.w.up("nh-1"))
	s.look(2.6, false)
	s.look(3)
	s.heard(3.1, 1)
	s.look(3.2, true)
}

func TestARefusedConnectionIsDeath(t *testing.T) {
	s := newScript(t)
	s.heard(0, 1)
	s.look(0, true)
	s.signs.Refused = true
	s.look(0.1)
	s.signs.Connections = 0
	s.look(0.2, false)
	s.heard(0.3, 1)
	s.look(0.3, true)
}

func TestANewProcessDiedAndLives(t *testing.T) {
	s := newScript(t)
	s.heard(0, 1)
	s.look(0, true)
	s.heard(0.5, 2)
	s.look(0.5, false, true)
	s.look(1.4)
	s.look(2.3)
	s.look(3, false)
	s.heard(4, 2)
	got := s.w.look(s.at(4), func(ids.Host) transport.Signs { return s.signs })
	require.Equal(t, []change{{host: "nh-1", up: true}}, got, "the same one")
	s.signs.Refused, s.signs.Connections = true, 0
	s.look(4.5, false)
	s.heard(5, 3)
	got = s.w.look(s.at(5), func(ids.Host) transport.Signs { return s.signs })
	require.Equal(t, []change{{host: "nh-1", up: true, fresh: true}}, got)
}

// A host that stood still itself does not take the others for dead.
func TestOwnStandstill(t *testing.T) {
	s := newScript(t)
	s.heard(0, 1)
	s.look(0, true)
	s.look(5)
	s.look(5.9)
	s.look(6.8)
	s.look(7.1, false)
	// It does not raise them either.
	s.look(20)
}

func TestAHostThatNobodyNeedsIsForgotten(t *testing.T) {
	s := newScript(t)
	s.heard(0, 1)
	s.look(0, true)
	s.w.follow(nil)
	require.False(t, s.w.up("nh-1"))
	s.look(1)
}
