package localfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/drumline/drumline/config"
)

// Options says what fleet to run.
type Options struct {
	// Dir holds everything; it is made when missing and kept at the end.
	Dir string
	// Bin is the directory of the programs drummer and nodehost.
	Bin string
	// Drummers and Hosts are the numbers of processes, 3 and 5 by default.
	Drummers, Hosts int
	// Regions are given to the processes in turn.
	Regions []string
	// Gossip has all processes gossip, with a key that is made under Dir.
	Gossip bool
	// Secure has every port demand certificates of an authority that is made under Dir.
	Secure bool
	// BasePort is the first of consecutive ports; 0 takes free ones.
	BasePort int
	// Output gets the processes' logs, each line with the process' name before it; nil discards them (they are in DIR/NAME/log anyway).
	Output io.Writer
	// Exited is called when a process ended that nobody of the fleet ended; may be nil.
	Exited func(name string, err error)
	// NodeHostBin is another program for the hosts, for an application's own; empty takes Bin/nodehost.
	NodeHostBin string
	// Address, unless nil, is where a process of that name listens, with all ports to
	// itself; without it all share 127.0.0.1.
	Address func(name string) string
	// Around, unless nil, is called to start a process: it calls start, on the goroutine
	// that it is called on.
	Around func(name string, start func() error) error
}

// ErrUnknownProcess is wrapped when a name is not of the fleet.
var ErrUnknownProcess = errors.New("no such process")

const stopPatience = 15 * time.Second

// Fleet is a running fleet. Its methods may be called together.
type Fleet struct {
	opts    Options
	spawner *spawner
	lock    *os.File
	// tls and web are for those who look after a Secure fleet; web is for others, too.
	tls config.TLS
	web *http.Client

	mu    sync.Mutex
	procs []Process         // guarded by mu
	live  map[string]*child // guarded by mu
}

// Open lays the fleet out under o.Dir and starts nothing yet. The caller closes it.
func Open(o Options) (*Fleet, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open fleet: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open fleet: %w", err)
	}
	procs, err := plan(o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	f := &Fleet{opts: o, lock: lock, procs: procs, live: map[string]*child{}, spawner: newSpawner(), web: http.DefaultClient}
	if err := errors.Join(f.secure(), f.configure(), writeLayout(o.Dir, procs)); err != nil {
		f.spawner.close()
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

func (o *Options) complete() error {
	if o.Drummers == 0 {
		o.Drummers = 3
	}
	if o.Hosts == 0 {
		o.Hosts = 5
	}
	if len(o.Regions) == 0 {
		o.Regions = []string{"east", "west"}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("open fleet: %w", err)
	}
	o.Dir = dir
	if o.NodeHostBin == "" {
		o.NodeHostBin = filepath.Join(o.Bin, "nodehost")
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	o.Output = &lockedWriter{w: o.Output}
	if o.Drummers < 0 || o.Hosts < 0 {
		return fmt.Errorf("open fleet: %d drummers and %d hosts: numbers must not be negative", o.Drummers, o.Hosts)
	}
	for _, bin := range []string{filepath.Join(o.Bin, "drummer"), o.NodeHostBin} {
		if _, err := os.Stat(bin); err != nil {
			return fmt.Errorf("open fleet: %w; run make build first", err)
		}
	}
	return nil
}

// secure makes what it takes to call the processes of a Secure fleet.
func (f *Fleet) secure() error {
	if !f.opts.Secure {
		return nil
	}
	a, err := f.authority()
	if err != nil {
		return err
	}
	if f.tls, err = a.Issue("operator", false); err != nil {
		return err
	}
	conf, err := f.tls.Client()
	if err != nil {
		return fmt.Errorf("read the operator's certificate: %w", err)
	}
	// Nobody closes what is kept alive.
	f.web = &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
	return nil
}

// TLS is an operator's certificate for a Secure fleet, which may call but not serve; zero
// for another.
func (f *Fleet) TLS() config.TLS { return f.tls }

// Web is a client for the processes' HTTP ports, with the operator's certificate if the
// fleet is Secure.
func (f *Fleet) Web() *http.Client { return f.web }

// URL is that of a path on the HTTP port of a process.
func (f *Fleet) URL(p Process, path string) string {
	if f.opts.Secure {
		return "https://" + p.HTTP + path
	}
	return "http://" + p.HTTP + path
}

// Processes returns the fleet's processes.
func (f *Fleet) Processes() []Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.procs)
}

// APIs returns the gRPC addresses of the processes of a kind.
func (f *Fleet) APIs(kind string) []string {
	var apis []string
	for _, p := range f.Processes() {
		if p.Kind == kind {
			apis = append(apis, p.API)
		}
	}
	return apis
}

// Process returns the process of that name.
func (f *Fleet) Process(name string) (Process, error) {
	for _, p := range f.Processes() {
		if p.Name == name {
			return p, nil
		}
	}
	return Process{}, fmt.Errorf("%w %q", ErrUnknownProcess, name)
}

// StartAll starts every process that does not run.
func (f *Fleet) StartAll() error {
	var errs []error
	for _, p := range f.Processes() {
		errs = append(errs, f.Start(p.Name))
	}
	return errors.Join(errs...)
}

// Start starts the process of that name; it is no error when it runs.
func (f *Fleet) Start(name string) error {
	p, err := f.Process(name)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live[name] != nil {
		return nil
	}
	c, err := f.spawner.spawn(f.command(p), f.opts.Output)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	f.live[name] = c
	f.setPID(name, c.pid())
	go f.reap(name, c) // ends with the child; Close waits for it through c.done
	return writeLayout(f.opts.Dir, f.procs)
}

// reap waits for the child and records its end.
func (f *Fleet) reap(name string, c *child) {
	err := c.wait()
	f.mu.Lock()
	if f.live[name] == c {
		delete(f.live, name)
		f.setPID(name, 0)
		err = errors.Join(err, writeLayout(f.opts.Dir, f.procs))
	}
	asked := c.asked
	f.mu.Unlock()
	if !asked && f.opts.Exited != nil {
		f.opts.Exited(name, err)
	}
	close(c.done)
}

// setPID records a process id; f.mu is held.
func (f *Fleet) setPID(name string, pid int) {
	for i := range f.procs {
		if f.procs[i].Name == name {
			f.procs[i].PID = pid
		}
	}
}

// Kill ends a process with SIGKILL and waits for its end.
func (f *Fleet) Kill(name string) error { return f.end(name, syscall.SIGKILL) }

// Stop ends a process with SIGTERM and waits for its end; after 15 s it kills it
// and says so.
func (f *Fleet) Stop(name string) error { return f.end(name, syscall.SIGTERM) }

// Pause stops a process with SIGSTOP.
func (f *Fleet) Pause(name string) error { return f.signal(name, syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (f *Fleet) Resume(name string) error { return f.signal(name, syscall.SIGCONT) }

// Wipe kills a process and removes its data directory: the loss of a disk. A drummer waits
// to be added when it is started again.
func (f *Fleet) Wipe(name string) error {
	if err := f.Kill(name); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(f.opts.Dir, name, "data")); err != nil {
		return fmt.Errorf("wipe %s: %w", name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.procs {
		if f.procs[i].Name == name && f.procs[i].Kind == KindDrummer {
			f.procs[i].Joins = true
		}
	}
	return errors.Join(f.configure(), writeLayout(f.opts.Dir, f.procs))
}

// NewDrummer lays out one more drummer, which waits to be added once it is started.
func (f *Fleet) NewDrummer(name string) (Process, error) {
	if _, err := f.Process(name); err == nil {
		return Process{}, fmt.Errorf("new drummer: the name %s is taken", name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ports := &portChooser{}
	defer ports.release()
	p := Process{Name: name, Kind: KindDrummer, Region: f.opts.Regions[0], Joins: true}
	if f.opts.Address != nil {
		p.settle(f.opts.Address(name))
	} else if err := ports.assign(&p, Process{}); err != nil {
		return Process{}, err
	}
	f.procs = append(f.procs, p)
	return p, errors.Join(f.configure(), writeLayout(f.opts.Dir, f.procs))
}

// Readdress gives a stopped process new free ports: it comes back on another address.
func (f *Fleet) Readdress(name string) error {
	if _, err := f.Process(name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live[name] != nil {
		return fmt.Errorf("readdress %s: it runs; stop it first", name)
	}
	ports := &portChooser{}
	defer ports.release()
	for i := range f.procs {
		if f.procs[i].Name == name {
			if err := ports.assign(&f.procs[i], Process{}); err != nil {
				return err
			}
		}
	}
	return errors.Join(f.configure(), writeLayout(f.opts.Dir, f.procs))
}

func (f *Fleet) child(name string, asked bool) (*child, error) {
	if _, err := f.Process(name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.live[name]
	if c != nil && asked {
		c.asked = true
	}
	return c, nil
}

func (f *Fleet) signal(name string, sig syscall.Signal) error {
	c, err := f.child(name, false)
	if err != nil {
		return err
	}
	if c == nil {
		return fmt.Errorf("signal %s: it does not run", name)
	}
	return c.signal(sig)
}

func (f *Fleet) end(name string, sig syscall.Signal) error {
	c, err := f.child(name, true)
	if err != nil || c == nil {
		return err
	}
	if err := c.signal(sig); err != nil {
		return fmt.Errorf("end %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	err = c.signal(syscall.SIGKILL)
	<-c.done
	return errors.Join(fmt.Errorf("end %s: still there %s after %s, killed", name, stopPatience, sig), err)
}

// Close stops every process, hosts before drummers, and waits for them.
func (f *Fleet) Close() error {
	defer f.spawner.close()
	return errors.Join(f.endKind(KindNodeHost, syscall.SIGTERM), f.endKind(KindDrummer, syscall.SIGTERM), f.unlock())
}

// unlock lets another process have the fleet; once.
func (f *Fleet) unlock() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lock == nil {
		return nil
	}
	err := f.lock.Close()
	f.lock = nil
	return err
}

// KillAll kills every process at once, as a power loss does.
func (f *Fleet) KillAll() error {
	return errors.Join(f.endKind(KindNodeHost, syscall.SIGKILL), f.endKind(KindDrummer, syscall.SIGKILL))
}

func (f *Fleet) endKind(kind string, sig syscall.Signal) error {
	procs := f.Processes()
	errs := make([]error, len(procs))
	var wg sync.WaitGroup
	for i, p := range procs {
		if p.Kind == kind {
			wg.Go(func() { errs[i] = f.end(p.Name, sig) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
