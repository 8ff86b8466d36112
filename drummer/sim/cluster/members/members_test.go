package members

import (
	"testing"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
)

func TestRules(t *testing.T) {
	s := First(map[ids.Replica]ids.Host{1: "a", 2: "b", 3: "c"})
	add := func(id uint64, host string, cc uint64) *drummerpb.Change {
		return &drummerpb.Change{Kind: drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER, Replica: id, HostId: host, ConfigChange: cc}
	}
	promote := func(id uint64, host string) *drummerpb.Change {
		return &drummerpb.Change{Kind: drummerpb.ChangeKind_CHANGE_KIND_PROMOTE, Replica: id, HostId: host}
	}
	remove := func(id uint64) *drummerpb.Change {
		return &drummerpb.Change{Kind: drummerpb.ChangeKind_CHANGE_KIND_REMOVE, Replica: id}
	}
	require.Equal(t, uint64(3), s.CC)
	require.True(t, s.So(&drummerpb.Change{}), "to ask for the membership changes nothing")
	require.NotEmpty(t, s.Forbids(add(4, "d", 2)), "an older membership")
	require.NotEmpty(t, s.Forbids(add(4, "a", 3)), "a second one on the host")
	require.NotEmpty(t, s.Forbids(add(3, "d", 3)), "a member")
	require.NotEmpty(t, s.Forbids(promote(4, "d")), "no observer")

	require.Empty(t, s.Forbids(add(4, "d", 3)))
	s.Make(add(4, "d", 3), 7)
	require.True(t, s.So(add(4, "d", 3)))
	require.Equal(t, "d", s.Place(4))
	require.NotEmpty(t, s.Forbids(promote(4, "e")), "it is elsewhere")
	s.Make(promote(4, "d"), 8)
	s.Make(remove(1), 9)
	require.True(t, s.So(remove(1)))
	require.NotEmpty(t, s.Forbids(add(1, "e", 9)), "it was removed")
	require.False(t, s.On("a"))
	require.Equal(t, &drummerpb.Membership{
		ConfigChange: 9, Voters: map[uint64]string{2: "b", 3: "c", 4: "d"}, Observers: map[uint64]string{}, Removed: []uint64{1},
	}, s.Copy())

	again := From(s.Copy())
	require.Equal(t, s, again)
	again.Make(remove(2), 10)
	again.Make(remove(3), 11)
	require.NotEmpty(t, again.Forbids(remove(4)), "the last one")
	require.True(t, s.On("b"), "a copy is a copy")
}
