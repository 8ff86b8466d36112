package client

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

func TestDecodeOfWhatNoHandlerSaid(t *testing.T) {
	plain := errors.New("broken pipe")
	for _, c := range []struct {
		err     error
		sent    bool
		effect  effect
		reason  hostpb.Reason
		outcome Outcome
	}{
		{plain, false, writes, hostpb.Reason_REASON_UNAVAILABLE, NotApplied},
		{plain, true, writes, hostpb.Reason_REASON_UNKNOWN_OUTCOME, Unknown},
		{plain, true, repeats, hostpb.Reason_REASON_UNKNOWN_OUTCOME, Unknown},
		{plain, true, reads, hostpb.Reason_REASON_UNAVAILABLE, NotApplied},
		{status.Error(codes.Unavailable, "EOF"), true, writes, hostpb.Reason_REASON_UNKNOWN_OUTCOME, Unknown},
		{status.Error(codes.DeadlineExceeded, ""), false, writes, hostpb.Reason_REASON_DEADLINE, NotApplied},
		{status.Error(codes.DeadlineExceeded, ""), true, reads, hostpb.Reason_REASON_DEADLINE, NotApplied},
		{status.Error(codes.Internal, "x"), true, writes, hostpb.Reason_REASON_UNKNOWN_OUTCOME, Unknown},
		{status.Error(codes.ResourceExhausted, "RST_STREAM"), true, writes, hostpb.Reason_REASON_UNKNOWN_OUTCOME, Unknown},
		{status.Error(codes.Unimplemented, "x"), true, writes, hostpb.Reason_REASON_INVALID, NotApplied},
		{status.Error(codes.PermissionDenied, "x"), true, writes, hostpb.Reason_REASON_INVALID, NotApplied},
		{errClosed, false, writes, hostpb.Reason_REASON_UNAVAILABLE, NotApplied},
	} {
		e := decode(c.err, attempted{server: "s", effect: c.effect, sent: c.sent})
		require.Equal(t, c.reason, e.Reason, "%v", c)
		require.Equal(t, c.outcome, e.Outcome, "%v", c)
		require.NotEqual(t, codes.OK, e.code)
	}
}

func TestDecodeOfWhatIsMissing(t *testing.T) {
	st, err := status.New(codes.NotFound, "no host").WithDetails(&errdetails.ErrorInfo{
		Reason: "GROUP_NOT_FOUND", Domain: errorDomain, Metadata: map[string]string{"missing": "host"},
	})
	require.NoError(t, err)
	e := decode(st.Err(), attempted{server: "s", effect: writes, sent: true})
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, e.Reason)
	require.Equal(t, "host", e.Missing)
}

// FuzzDecode: whatever a server says, a command that may have been applied is never
// called not applied, and nothing panics.
func FuzzDecode(f *testing.F) {
	f.Add("NOT_LEADER", "not_applied", "drumline", 14)
	f.Add("INTERNAL", "unknown", "drumline", 13)
	f.Add("", "", "other", 2)
	f.Fuzz(func(t *testing.T, reason, outcome, domain string, code int) {
		st, err := status.New(codes.Code(uint32(max(code, 1))), "x").WithDetails(&errdetails.ErrorInfo{
			Reason: reason, Domain: domain, Metadata: map[string]string{"outcome": outcome},
		})
		if err != nil {
			t.Skip()
		}
		e := decode(st.Err(), attempted{server: "s", effect: writes, sent: true})
		if outcome == "unknown" && domain == errorDomain && e.Outcome != Unknown {
			t.Errorf("outcome %v of %v", e.Outcome, st)
		}
		_ = e.Error()
		_ = e.retryable(writes)
	})
}

func TestLocationsAreBounded(t *testing.T) {
	l := newLocations(3)
	for i := range 10 {
		l.learn(fmt.Sprintf("kv/%d", i), &hostpb.Location{Id: uint64(i + 1)})
		require.NotNil(t, l.get("kv/0"), "used, so kept")
	}
	require.Len(t, l.byKey, 3)
	require.Equal(t, 3, l.order.Len())
	require.Nil(t, l.get("kv/5"))
	l.drop("kv/0")
	l.drop("kv/none")
	require.Nil(t, l.get("kv/0"))
	l.learn("kv/x", nil)
	require.Nil(t, l.get("kv/x"))
}

func TestLocationsBelieveTheNewest(t *testing.T) {
	l := newLocations(3)
	members := []*hostpb.Member{{Replica: 1, Api: "a"}, {Replica: 2, Api: "b", Observer: true}}
	l.learn("kv/x", &hostpb.Location{Id: 2, Version: 5, Members: members, LeaderApi: "a"})
	l.learn("kv/x", &hostpb.Location{Id: 1, Version: 9, LeaderApi: "old"})
	require.Equal(t, "a", l.get("kv/x").GetLeaderApi(), "an older group of the name is not believed")
	l.learn("kv/x", &hostpb.Location{Id: 2, LeaderApi: "c"})
	require.Equal(t, "c", l.get("kv/x").GetLeaderApi())
	require.Len(t, l.get("kv/x").GetMembers(), 2, "members are not forgotten")
	l.learn("kv/x", &hostpb.Location{Id: 2, Version: 4, Members: members[:1], LeaderApi: "d"})
	require.Len(t, l.get("kv/x").GetMembers(), 2, "an older list of members is not believed")
	require.Equal(t, []string{"d", "a"}, l.prefer("kv/x"), "observers are not asked")
	l.learn("kv/x", &hostpb.Location{Id: 3, LeaderApi: "e"})
	require.Equal(t, []string{"e"}, l.prefer("kv/x"))
}

func TestServersKeepWhatWasGiven(t *testing.T) {
	s := newServers([]string{"given"})
	s.learn([]*hostpb.Server{{Kind: "drummer", Api: "d", Leader: true}, {Kind: "nodehost", Api: "h"}, {Kind: "toaster", Api: "t"}, {Kind: "nodehost"}})
	require.Equal(t, []string{"d", "given"}, s.of(drummerKind))
	require.Equal(t, []string{"h", "given"}, s.of(nodehostKind))
	require.Equal(t, "d", s.leading())
	s.isOther("given", drummerKind)
	require.Equal(t, []string{"d"}, s.of(drummerKind))
	s.isOther("stranger", drummerKind)
	require.False(t, s.known("stranger"))
	s.learn(nil)
	require.Equal(t, []string{"given"}, s.of(unknownKind))
	require.Equal(t, "d", s.leading(), "a list without a leader says nothing about it")
}
