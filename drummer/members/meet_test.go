package members

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/serve"
)

// When nobody answers at the address of a newcomer, it is no use to ask the drummers again:
// whoever asked is told what to start there. A newcomer that answers with an error is there.
func TestWhoAnswersAtTheAddress(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "host.db"), 0o600, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	at := &other{}
	m, err := New(Options{
		Deployment: "test", Self: &fleetpb.Drummer{HostId: "h1", Name: "drummer-1", Api: "d1:1", Raft: "d1:2"}, DB: db, Log: slog.New(slog.DiscardHandler),
		Learn: func(ids.Host, string, uint64) error { return nil },
		Conn:  func(string) (grpc.ClientConnInterface, error) { return at, nil },
	})
	require.NoError(t, err)
	sent := func(reason fault.Reason) error { return serve.Status(fault.New(reason, "it says so")).Err() }
	for name, tc := range map[string]struct {
		err    error
		reason fault.Reason
		text   string
	}{
		"a refused connection":  {status.Error(codes.Unavailable, "connection refused"), fault.Conflict, "no drummer answers at new:1: start one there with --join"},
		"silence":               {status.Error(codes.DeadlineExceeded, "late"), fault.Conflict, "no drummer answers at new:1"},
		"a host":                {status.Error(codes.Unimplemented, "unknown service"), fault.Invalid, "what answers at new:1 is no drummer"},
		"another deployment":    {sent(fault.Invalid), fault.Conflict, "the drummer at new:1 refuses: it says so"},
		"one that can't answer": {sent(fault.Unavailable), fault.Unavailable, "the drummer at new:1 answers with an error, ask again: it says so"},
		"one with a bad disk":   {serve.Status(errors.New("it says so")).Err(), fault.Unavailable, "the drummer at new:1 answers with an error"},
	} {
		t.Run(name, func(t *testing.T) {
			at.err = tc.err
			_, err := m.Inspect(t.Context(), "new:1")
			require.Equal(t, tc.reason, fault.ReasonOf(err))
			require.ErrorContains(t, err, tc.text)
		})
	}
}
