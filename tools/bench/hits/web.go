package hits

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/measure"
)

// Serve is the yardstick's server: it counts in memory, as the talk's program does, until in
// ends. It writes its address to out, a line.
func Serve(in io.Reader, out io.Writer) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	var counted atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/inc", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("amount"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintln(w, counted.Add(int64(n))) // the caller reads it
	})
	server, served := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}, make(chan error, 1)
	go func() { served <- server.Serve(ln) }() // ends with Close
	_, err = fmt.Fprintln(out, ln.Addr())
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	err = errors.Join(err, server.Close())
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// ServerCommand is Serve as a hidden command of bench.
func ServerCommand() *cli.Command {
	return &cli.Command{
		Name: "bare-handler", Hidden: true,
		Action: func(c *cli.Context) error { return Serve(os.Stdin, c.App.Writer) },
	}
}

// Web is the yardstick: a server that counts in memory and the callers of it. The server is a
// process of its own, as the talk's program was when it was measured: one whose callers share
// its process switches goroutines where that one switched processes, which is quicker.
type Web struct {
	measure.Setup
	caller *Caller
	places Places
	server *exec.Cmd
	end    io.Closer
}

// NewWeb starts one; server is a command that does what Serve does. The caller closes it.
func NewWeb(s measure.Setup, server *exec.Cmd) (*Web, error) {
	in, err := server.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the bare handler: %w", err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the bare handler: %w", err)
	}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start the bare handler: %w", err)
	}
	w := &Web{Setup: s, caller: NewCaller(), server: server, end: in}
	at, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the bare handler: it gave no address: %w", err), w.Close())
	}
	w.places.Leader = strings.TrimSpace(at)
	return w, nil
}

// Run makes a run.
func (w *Web) Run(ctx context.Context, r measure.Request) (measure.Sample, error) {
	if r.Op == measure.OpPause || r.Op == measure.OpResume {
		return measure.Sample{}, nil
	}
	r.Via = Bare
	work, err := w.caller.Workload(w.places, &r)
	if err != nil {
		return measure.Sample{}, err
	}
	return w.Measured(ctx, r, w.usage, work)
}

// usage is that of both processes.
func (w *Web) usage() measure.Usage {
	u := measure.OwnUsage()
	u.CPU += measure.ProcessCPU(w.server.Process.Pid)
	return u
}

// Close ends both.
func (w *Web) Close() error {
	w.caller.Close()
	return errors.Join(w.end.Close(), w.server.Wait())
}
