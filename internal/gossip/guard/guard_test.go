package guard_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/gossip/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// network delivers what a test puts in.
type network struct {
	packets chan *memberlist.Packet
	streams chan net.Conn
	sent    [][]byte
}

func (*network) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IPv4(1, 2, 3, 4), 5, nil
}

func (n *network) WriteToAddress(b []byte, _ memberlist.Address) (time.Time, error) {
	n.sent = append(n.sent, b)
	return time.Now(), nil
}
func (n *network) PacketCh() <-chan *memberlist.Packet { return n.packets }
func (n *network) StreamCh() <-chan net.Conn           { return n.streams }
func (*network) Shutdown() error                       { return nil }

// world is a guard and what it refused.
type world struct {
	*guard.Guard
	net *network

	mu      sync.Mutex
	refused map[guard.Refusal]int
}

func (w *world) count(r guard.Refusal) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused[r]
}

func open(t *testing.T, dial func(context.Context, string) (net.Conn, error)) *world {
	t.Helper()
	w := &world{net: &network{packets: make(chan *memberlist.Packet), streams: make(chan net.Conn)}, refused: map[guard.Refusal]int{}}
	w.Guard = guard.New(guard.Options{Network: w.net, Dial: dial, Refused: func(r guard.Refusal) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.refused[r]++
	}})
	t.Cleanup(func() { require.NoError(t, w.Shutdown()) })
	return w
}

func TestPacketsPassUnlessTheyAreTooLong(t *testing.T) {
	w := open(t, nil)
	w.net.packets <- &memberlist.Packet{Buf: make([]byte, guard.MaxPacket+1)}
	w.net.packets <- &memberlist.Packet{Buf: make([]byte, guard.MaxPacket)}
	require.Len(t, (<-w.PacketCh()).Buf, guard.MaxPacket)
	require.Equal(t, 1, w.count(guard.Oversized))
	_, err := w.WriteTo([]byte("x"), "a:1")
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("x")}, w.net.sent)
	ip, port, err := w.FinalAdvertiseAddr("", 0)
	require.NoError(t, err)
	require.Equal(t, "1.2.3.4", ip.String())
	require.Equal(t, 5, port)
}

func TestOnlySoManyStreamsAreOpen(t *testing.T) {
	w := open(t, nil)
	var taken []net.Conn
	var ends []net.Conn
	for range guard.MaxStreams {
		here, there := net.Pipe()
		w.net.streams <- there
		taken, ends = append(taken, <-w.StreamCh()), append(ends, here)
	}
	here, there := net.Pipe()
	w.net.streams <- there
	_, err := here.Read(make([]byte, 1)) // it is closed at once
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1, w.count(guard.Crowded))

	require.NoError(t, taken[0].Close())
	require.NoError(t, taken[0].Close(), "its place is given up once")
	_, there = net.Pipe()
	w.net.streams <- there
	require.NotNil(t, <-w.StreamCh())
	for _, c := range ends {
		require.NoError(t, c.Close())
	}
}

func TestOnlySoMuchIsReadOfAStream(t *testing.T) {
	w := open(t, nil)
	here, there := net.Pipe()
	w.net.streams <- there
	c := <-w.StreamCh()
	go func() {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := here.Write(chunk); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, c)
	require.Error(t, err)
	require.LessOrEqual(t, n, int64(guard.MaxStream))
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	require.Equal(t, 1, w.count(guard.Oversized), "once for a stream")
	require.NoError(t, c.Close())
	require.NoError(t, here.Close())
}

func TestAStopEndsDialsAndStreams(t *testing.T) {
	dialling := make(chan struct{})
	w := open(t, func(ctx context.Context, addr string) (net.Conn, error) {
		if addr == "far:1" {
			close(dialling)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		here, _ := net.Pipe()
		return here, nil
	})
	near, err := w.DialTimeout("near:1", patience)
	require.NoError(t, err)
	_, there := net.Pipe()
	w.net.streams <- there
	incoming := <-w.StreamCh()

	ended := make(chan error, 3)
	for _, c := range []net.Conn{near, incoming} {
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
	}
	go func() {
		_, err := w.DialTimeout("far:1", time.Hour)
		ended <- err
	}()
	<-dialling
	require.NoError(t, w.Shutdown())
	for range 3 {
		select {
		case err := <-ended:
			require.Error(t, err)
		case <-time.After(patience):
			require.FailNow(t, "the stop left something behind")
		}
	}
	_, err = w.DialTimeout("near:1", patience)
	require.Error(t, err)
}
