package sequence_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	machine "github.com/drumline/drumline/statemachines/sequence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errAway  = errors.New("no quorum")
	errWrong = errors.New("no such group")
)

// shut closes a client that is done with. Where time is real a machine that stood still
// may have left none of the second to give something back in.
func shut(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); !errors.Is(err, context.DeadlineExceeded) {
		require.NoError(t, err)
	}
}

// group is a group without Raft, that fails as the test wants.
type group struct {
	mu    sync.Mutex
	m     *machine.Machine
	began time.Time
	tries int
	// lost loses every n-th answer after the command was applied.
	lost int
	away bool // nothing gets through
	none bool // there is no such group
	// slow is how long each answer takes.
	slow time.Duration
	// born is the time that commands get, in Unix milliseconds; hosts do that.
	born uint64
}

func newGroup() *group {
	return &group{m: machine.New(statemachines.Group{ID: 1000}), began: time.Now(), born: 1_700_000_000_000}
}

func (g *group) Propose(ctx context.Context, cmd []byte) ([]byte, bool, error) {
	if g.slow > 0 {
		select {
		case <-time.After(g.slow):
		case <-ctx.Done():
			return nil, true, ctx.Err()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tries++
	switch {
	case ctx.Err() != nil:
		return nil, true, ctx.Err()
	case g.away:
		return nil, true, errAway
	case g.none:
		return nil, false, errWrong
	}
	data := g.apply(cmd)
	if g.lost > 0 && g.tries%g.lost == 0 {
		return nil, true, errAway
	}
	return data, false, nil
}

// apply applies a command; mu is held.
func (g *group) apply(cmd []byte) []byte {
	cmd = protowire.AppendVarint(protowire.AppendTag(slices.Clone(cmd), 17, protowire.VarintType), g.born)
	out := make([]statemachines.Result, 1)
	g.m.Apply([]statemachines.Command{{Time: int64(time.Since(g.began)), Version: 1, Data: cmd}}, out)
	return out[0].Data
}

// do applies a command of an administrator.
func (g *group) do(t testing.TB, cmd *sequencepb.Command) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	data, err := proto.Marshal(cmd)
	require.NoError(t, err)
	r := &sequencepb.Result{}
	require.NoError(t, proto.Unmarshal(g.apply(data), r))
	require.Equal(t, sequencepb.Outcome_OUTCOME_OK, r.GetOutcome(), r.GetDetail())
}

func (g *group) create(t testing.TB, d *sequencepb.Definition) {
	t.Helper()
	g.do(t, &sequencepb.Command{Op: &sequencepb.Command_Create{Create: &sequencepb.Create{Definition: d}}})
}

func (g *group) describe(t testing.TB) *sequencepb.Info {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	q, err := proto.Marshal(&sequencepb.Query{Op: &sequencepb.Query_Describe{Describe: &sequencepb.Describe{}}})
	require.NoError(t, err)
	data, err := g.m.Query(q)
	require.NoError(t, err)
	a := &sequencepb.Answer{}
	require.NoError(t, proto.Unmarshal(data, a))
	return a.GetSequences()[0]
}

// change changes how the group behaves.
func (g *group) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func (g *group) tried() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tries
}
