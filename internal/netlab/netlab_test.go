//go:build linux

package netlab_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/netlab"
)

// The test's own program plays a process in a namespace.
const roleVar = "NETLAB_ROLE"

func TestMain(m *testing.M) {
	if at := os.Getenv(roleVar); at != "" {
		os.Exit(echo(at))
	}
	goleak.VerifyTestMain(m)
}

// echo answers each connection with what it says, until its input ends.
func echo(at string) int {
	ln, err := net.Listen("tcp", at)
	if err != nil {
		return 3
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	_, _ = os.Stdout.WriteString("up\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// TestLinks runs itself in a namespace; where that is not allowed there is nothing to test.
func TestLinks(t *testing.T) {
	if !netlab.Inside() {
		err := netlab.Enter("-test.run=^TestLinks$")
		if errors.Is(err, fs.ErrPermission) {
			t.Skipf("nobody may make namespaces here: %v", err)
		}
		require.NoError(t, err)
		return
	}
	lab, err := netlab.New("a", "b")
	require.NoError(t, err)
	defer func() { require.NoError(t, lab.Close()) }()
	require.Error(t, lab.In("c", func() error { return nil }))
	at := lab.Address("a") + ":7000"
	stop := serve(t, lab, at)
	defer stop()

	conn, err := net.Dial("tcp", at)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_ = quickest(t, conn)
	lab.Set(netlab.Here, "a", netlab.Link{Delay: 100 * time.Millisecond})
	require.GreaterOrEqual(t, quickest(t, conn), 100*time.Millisecond)
	lab.Both(netlab.Here, "a", netlab.Link{Loss: 0.2})
	_ = quickest(t, conn) // it comes all the same

	for _, direction := range [][2]string{{netlab.Here, "a"}, {"a", netlab.Here}} {
		lab.Heal()
		lab.Set(direction[0], direction[1], netlab.Link{Cut: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
		cancel()
		require.Error(t, err)
	}
	lab.Heal()
	_ = quickest(t, conn)
}

// serve runs a process in node a.
func serve(t *testing.T, lab *netlab.Net, at string) (stop func()) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVar+"="+at)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, lab.In("a", cmd.Start))
	_, err = io.ReadFull(out, make([]byte, 3))
	require.NoError(t, err)
	return func() {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
	}
}

// quickest is the shortest of some round trips.
func quickest(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	best := time.Hour
	for range 3 {
		began := time.Now()
		_, err := conn.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, 1))
		require.NoError(t, err)
		best = min(best, time.Since(began))
	}
	return best
}
