package members

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/drumline/drumline/drummer/fleet"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ahead is a group whose record can be raised; nothing else is asked of it.
type ahead struct {
	Group
	version uint32
	raised  int
}

func (a *ahead) Status(ids.Group) (raft.Status, bool) {
	s := raft.Status{Replica: 1, Serving: true}
	s.Version = a.version
	return s, true
}

func (a *ahead) RaiseVersion(_ context.Context, _ ids.Group, version uint32) error {
	a.raised++
	a.version = version
	return nil
}

// written is a record that nobody changes.
type written struct{ *fleet.Machine }

func (w written) LocalView() (*fleet.View, error) { return w.Freeze(), nil }

func (w written) Propose(context.Context, *fleetpb.Command) (*fleetpb.Result, error) {
	return nil, errors.New("nothing is to be proposed")
}

// other is a drummer that answers as it is told.
type other struct {
	grpc.ClientConnInterface
	says *drummerpb.MeetResponse // nil: it does not answer
	err  error                   // instead of an answer
}

func (o *other) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	r, ok := reply.(*drummerpb.MeetResponse)
	if o.err != nil {
		return o.err
	}
	if !ok || o.says == nil {
		return errors.New("it is away")
	}
	r.Self, r.RecordVersion = o.says.GetSelf(), o.says.GetRecordVersion()
	return nil
}

// The record is raised once every other drummer has said that it knows the version, and it is
// said who is waited for until then.
func TestTheRecordIsRaisedWhenAllKnow(t *testing.T) {
	drummers := []*fleetpb.Drummer{
		{Number: 1, HostId: "h1", Name: "drummer-1", Api: "d1:1", Raft: "d1:2"},
		{Number: 2, HostId: "h2", Name: "drummer-2", Api: "d2:1", Raft: "d2:2"},
		{Number: 3, HostId: "h3", Name: "drummer-3", Api: "d3:1", Raft: "d3:2"},
	}
	record := written{fleet.New()}
	found := record.Execute(&fleetpb.Command{Op: &fleetpb.Command_FoundDrummers{FoundDrummers: &fleetpb.FoundDrummers{Drummers: drummers}}})
	require.Equal(t, fleetpb.Code_CODE_OK, found.GetCode(), found.GetDetail())
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "host.db"), 0o600, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	others := map[string]*other{"d2:1": {}, "d3:1": {}}
	m, err := New(Options{
		Deployment: "test", Self: drummers[0], DB: db, Log: slog.New(slog.DiscardHandler),
		Learn: func(ids.Host, string, uint64) error { return nil },
		Conn:  func(address string) (grpc.ClientConnInterface, error) { return others[address], nil },
	})
	require.NoError(t, err)
	group := &ahead{version: fleet.AppVersion - 1}
	c := &Cluster{Group: group, Record: record, Fleet: "f"}
	m.Attach(*c)

	for _, step := range []struct {
		name   string
		d2, d3 *drummerpb.MeetResponse
		waits  string
		raised int
	}{
		{"nobody answers", nil, nil, fmt.Sprintf("drummer-2: the record stays at version %d until it runs a program that knows version %d", fleet.AppVersion-1, fleet.AppVersion), 0},
		{"one is older", says(drummers[1], fleet.AppVersion), says(drummers[2], 0), "drummer-3: the record stays", 0},
		{"another directory answers", says(drummers[1], fleet.AppVersion), says(&fleetpb.Drummer{HostId: "h9"}, fleet.AppVersion), "drummer-3: the record stays", 0},
		{"all know it", says(drummers[1], fleet.AppVersion), says(drummers[2], fleet.AppVersion+1), fmt.Sprintf("raise the record to version %d", fleet.AppVersion), 1},
		{"it is so", nil, nil, "", 1},
	} {
		t.Run(step.name, func(t *testing.T) {
			others["d2:1"].says, others["d3:1"].says = step.d2, step.d3
			m.lead(context.Background(), c, 1)
			if step.waits == "" {
				require.Empty(t, m.step)
			} else {
				require.Contains(t, m.step, step.waits)
			}
			require.Equal(t, step.raised, group.raised)
		})
	}
	require.EqualValues(t, fleet.AppVersion, m.answer().GetRecordVersion(), "and says what it knows itself")
}

func says(d *fleetpb.Drummer, version uint32) *drummerpb.MeetResponse {
	return &drummerpb.MeetResponse{Self: d, RecordVersion: version}
}
