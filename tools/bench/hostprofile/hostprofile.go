// Package hostprofile profiles the hosts of a fleet. A nodehost has no profiler, so they
// are another program: the same host, with pprof beside it.
package hostprofile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof" //nolint:gosec // it listens on loopback only, and only when profiles are asked for
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/nodehost"
	"github.com/drumline/drumline/statemachines/capacity"
	"github.com/drumline/drumline/statemachines/counter"
	"github.com/drumline/drumline/statemachines/kv"
	"github.com/drumline/drumline/statemachines/sequence"
	"github.com/drumline/drumline/tools/bench/measure"
)

// Program is the name under which bench is a host with a profiler.
const Program = "profiled-nodehost"

// pprofAddress is a file in the process' directory.
const pprofAddress = "pprof.addr"

// Link gives the program self its other name, in dir.
func Link(dir, self string) (string, error) {
	link := filepath.Join(dir, Program)
	if err := os.Symlink(self, link); err != nil {
		return "", fmt.Errorf("profile: %w", err)
	}
	return link, nil
}

// Main is the program under its other name.
func Main() int {
	if err := servePprof(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err) // nowhere else to say it
		return 1
	}
	return nodehost.Main(kv.App(), capacity.App(), sequence.App(), counter.App())
}

func servePprof() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/profile", pprof.Profile)
	mux.Handle("/heap", pprof.Handler("heap"))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: measure.MetricsPatience}
	go func() { _ = server.Serve(ln) }() // as long as the process
	return os.WriteFile(pprofAddress, []byte(ln.Addr().String()), 0o600)
}

// Fleet is the processes whose hosts are profiled, and where they are.
type Fleet struct {
	measure.Setup
	Local *localfleet.Fleet
	Dir   string
}

// Around makes a run, with a CPU profile of every host if they are wanted.
func (f Fleet) Around(r measure.Request, run func() error) error {
	if f.Profile == "" {
		return run()
	}
	procs := f.Local.Processes()
	errs := make([]error, len(procs))
	var wg sync.WaitGroup
	seconds := int((measure.Warmup + r.Time + time.Second/2) / time.Second)
	for i, p := range procs {
		if p.Kind == localfleet.KindNodeHost {
			wg.Go(func() { errs[i] = f.fetch(r, p.Name, "/profile?seconds="+strconv.Itoa(max(1, seconds)), "cpu") })
		}
	}
	err := run()
	wg.Wait()
	for i, p := range procs {
		if f.Heap && p.Kind == localfleet.KindNodeHost {
			errs[i] = errors.Join(errs[i], f.fetch(r, p.Name, "/heap", "heap"))
		}
	}
	return errors.Join(err, errors.Join(errs...))
}

// fetch saves a profile of a host.
func (f Fleet) fetch(r measure.Request, name, page, kind string) (err error) {
	addr, err := os.ReadFile(filepath.Join(f.Dir, name, pprofAddress))
	if err != nil {
		return fmt.Errorf("profile %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.Time+measure.OperationPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(addr)+page, nil)
	if err != nil {
		return fmt.Errorf("profile %s: %w", name, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile %s: %w", name, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	path := strings.Replace(f.ProfilePath(r, kind), f.Subject, f.Subject+"-"+name, 1)
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("profile %s: %w", name, err)
	}
	_, err = io.Copy(file, resp.Body)
	return errors.Join(err, file.Close())
}
