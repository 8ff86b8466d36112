//go:build (e2e || e2elong) && linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drumline/drumline/client/sequence"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/internal/netlab"
)

// TestSequencesPartitioned runs a fleet in network namespaces and hurts the links of the
// host that leads. It runs itself again, inside one.
func TestSequencesPartitioned(t *testing.T) {
	if !netlab.Inside() {
		if os.Getenv("E2E_NO_NAMESPACES") != "" {
			t.Skip("E2E_NO_NAMESPACES is set: nothing is known about partitions")
		}
		err := netlab.Enter("-test.run=^TestSequencesPartitioned$", "-test.v", "-test.timeout=10m")
		require.NoError(t, err, "where namespaces can't be made, set E2E_NO_NAMESPACES=1 to leave this test out")
		return
	}
	names := []string{"drummer-1", "host-1", "host-2", "host-3"}
	lab, err := netlab.New(names...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	w := newWorldOf(t, localfleet.Options{Drummers: 1, Hosts: 3, Address: lab.Address, Around: lab.In})
	c := w.sequences("sequence/dense")
	dense, ranges := newCast(t, c, "sequence/dense"), newCast(t, c, family+"#ranges")
	var load crew
	for i := range 6 {
		load.hire(dense, fmt.Sprint("unbuffered ", i))
	}
	load.hire(ranges, "buffered", sequence.Buffer(20))
	for _, trouble := range troubles()[:seqTroubles] {
		victim := w.leader("sequence/dense")
		began := time.Now()
		for _, name := range append(names, netlab.Here) {
			if name != victim && (name != netlab.Here || trouble.clients) {
				lab.Set(victim, name, trouble.out)
				lab.Set(name, victim, trouble.in)
			}
		}
		load.calm(w, 3) // that everybody goes on is what must be
		took := time.Since(began)
		if trouble.alone {
			w.mute(victim)
		}
		rest := time.NewTimer(seqSevered)
		<-rest.C
		lab.Heal()
		load.calm(w, 3)
		t.Logf("%s, %s: everybody went on after %s", trouble.name, victim, took)
	}
	load.home()
	dense.dense(dense.judge(true))
	ranges.judge(false)
}

// trouble is what the host that leads suffers, on its links to the other servers.
type trouble struct {
	name    string
	out, in netlab.Link
	clients bool // and to clients
	alone   bool // it leads nobody any more, and is asked
}

func troubles() []trouble {
	cut := netlab.Link{Cut: true}
	slow, lossy := netlab.Link{Delay: 100 * time.Millisecond}, netlab.Link{Loss: 0.05}
	return []trouble{
		{name: "alone, and clients reach it", out: cut, in: cut, alone: true},
		{name: "what it is told is lost", in: cut},
		{name: "200 ms for there and back", out: slow, in: slow},
		{name: "5 % of all packets are lost", out: lossy, in: lossy, clients: true},
		{name: "alone, and nobody reaches it", out: cut, in: cut, clients: true},
		{name: "what it says is lost", out: cut},
	}
}

// mute demands that a host which is cut off hands out nothing.
func (w *world) mute(host string) {
	w.Helper()
	p, err := w.fleet.Process(host)
	w.must(err)
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(p.API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	w.must(err)
	defer func() { w.must(conn.Close()) }()
	r, err := sequencepb.NewSequenceClient(conn).Next(ctx, &sequencepb.NextRequest{Group: "sequence/dense"})
	require.Error(w, err, "%s, which is cut off, handed out %v", host, r)
	w.Logf("%s, cut off: %v", host, err)
}
