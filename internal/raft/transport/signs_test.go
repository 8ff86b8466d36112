package transport

import (
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
)

const testBeat = 10 * time.Millisecond

// attending makes two nodes that beat.
func attending(t *testing.T, hook faults.Hook) (a, b *node) {
	t.Helper()
	oa, ob := options("nh-a"), options("nh-b")
	oa.Hook, ob.Hook = hook, hook
	a, b = create(t, oa), create(t, ob)
	a.Heartbeat(testBeat)
	b.Heartbeat(testBeat)
	a.Ready()
	b.Ready()
	meet(a, b)
	a.Attend([]ids.Host{"nh-a", "nh-b"})
	b.Attend([]ids.Host{"nh-a"})
	return a, b
}

// heardAgain waits until something came in after now.
func heardAgain(t *testing.T, n *node, h ids.Host) {
	t.Helper()
	now := time.Now()
	until(t, "signs of life", func() bool { return n.Signs(h).Heard.After(now) })
}

func TestAttendedHostsHearOfEachOther(t *testing.T) {
	a, b := attending(t, nil)
	require.Zero(t, a.Signs("nh-z"))
	for range 5 {
		heardAgain(t, a, "nh-b")
		heardAgain(t, b, "nh-a")
	}
	require.Equal(t, b.self.nonce, a.Signs("nh-b").Process)
	require.Positive(t, a.Signs("nh-b").Connections)

	// One is enough for both.
	b.Attend(nil)
	until(t, "b keeps no connection", func() bool { return !b.Stats().Peers["nh-a"].Connected })
	for range 3 {
		heardAgain(t, a, "nh-b")
		heardAgain(t, b, "nh-a")
	}
	a.Attend(nil)
	until(t, "a keeps none either", func() bool { return a.Signs("nh-b").Connections == 0 })
	require.False(t, a.Signs("nh-b").Refused)
}

func TestAClosedHostIsFoundOut(t *testing.T) {
	a, b := attending(t, nil)
	heardAgain(t, a, "nh-b")
	require.NoError(t, b.Close())
	until(t, "nobody listens there", func() bool {
		s := a.Signs("nh-b")
		return s.Refused && s.Connections == 0
	})
	// The news came as well.
	receive(t, a.sessions.news)

	o := options("nh-b")
	o.BootEpoch, o.Book = 2, b.book
	again := create(t, o)
	again.Ready()
	until(t, "its next process is another one", func() bool {
		s := a.Signs("nh-b")
		return s.Process == again.self.nonce && !s.Refused && s.Connections > 0
	})
}

func TestACutSilencesBothSides(t *testing.T) {
	bad := faults.New(1)
	a, b := attending(t, bad)
	heardAgain(t, a, "nh-b")
	heardAgain(t, b, "nh-a")
	bad.Cut("nh-a", "nh-b")
	bad.Cut("nh-b", "nh-a")
	silent := func(n *node, h ids.Host) func() bool {
		return func() bool { return time.Since(n.Signs(h).Heard) > 20*testBeat }
	}
	until(t, "a hears nothing", silent(a, "nh-b"))
	until(t, "b hears nothing", silent(b, "nh-a"))
	bad.Heal()
	heardAgain(t, a, "nh-b")
	heardAgain(t, b, "nh-a")
}

func TestTell(t *testing.T) {
	a, b := attending(t, nil)
	heardAgain(t, a, "nh-b")
	m := pb.Message{Type: pb.NoOP, ClusterId: 1000, From: 1, To: 2, Hint: 3}
	a.Tell("nh-z", []pb.Message{m}) // not attended: lost
	a.Tell("nh-b", []pb.Message{m})
	batch := receive(t, b.batches)
	require.Equal(t, "nh-a", batch.SourceAddress)
	require.Equal(t, []pb.Message{m}, batch.Requests)
	require.NoError(t, a.Close())
	a.Attend([]ids.Host{"nh-b", "nh-c"})
	a.Tell("nh-b", []pb.Message{m})
}
