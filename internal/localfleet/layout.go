package localfleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/google/renameio/v2"

	"github.com/drumline/drumline/internal/freeport"
)

// Kinds of processes.
const (
	KindDrummer  = "drummer"
	KindNodeHost = "nodehost"
)

// Process is one process of the fleet, as cluster.json lists it.
type Process struct {
	// Name is drummer-1, host-1 and so on.
	Name string `json:"name"`
	// Kind is drummer or nodehost.
	Kind string `json:"kind"`
	// PID is 0 while the process does not run.
	PID int `json:"pid"`
	// API is the address of its gRPC port.
	API string `json:"api"`
	// HTTP is the address of its metrics and health port.
	HTTP string `json:"http"`
	// Raft is the address of its Raft port.
	Raft string `json:"raft"`
	// Gossip is the address that it gossips on; empty when it does not.
	Gossip string `json:"gossip,omitempty"`
	// Region it is in.
	Region string `json:"region"`
	// Joins is true for a drummer that waits to be added: it came later, or lost its disk.
	Joins bool `json:"joins,omitempty"`
}

// layout is the content of cluster.json.
type layout struct {
	Processes []Process `json:"processes"`
}

// Read returns the processes that cluster.json under dir lists.
func Read(dir string) ([]Process, error) {
	path := filepath.Join(dir, "cluster.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read fleet: %w", err)
	}
	var l layout
	if err := json.Unmarshal(raw, &l); err != nil {
		return nil, fmt.Errorf("read fleet: %s: %w; remove the file to choose new ports", path, err)
	}
	return l.Processes, nil
}

func writeLayout(dir string, procs []Process) error {
	raw, err := json.MarshalIndent(layout{Processes: procs}, "", "  ")
	if err != nil {
		return fmt.Errorf("write fleet: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, "cluster.json"), append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write fleet: %w", err)
	}
	return nil
}

// plan lays the fleet out: what an earlier start chose is kept where it still
// fits, so that a second start is a restart.
func plan(o Options) ([]Process, error) {
	known := map[string]Process{}
	before, err := Read(o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, p := range before {
		known[p.Name] = p
	}
	ports := &portChooser{next: o.BasePort}
	defer ports.release()
	procs := make([]Process, 0, o.Drummers+o.Hosts)
	for i := range o.Drummers {
		procs = append(procs, Process{Name: "drummer-" + strconv.Itoa(i+1), Kind: KindDrummer, Region: o.Regions[i%len(o.Regions)]})
	}
	for i := range o.Hosts {
		procs = append(procs, Process{Name: "host-" + strconv.Itoa(i+1), Kind: KindNodeHost, Region: o.Regions[i%len(o.Regions)]})
	}
	for _, p := range before { // drummers that came later
		if p.Joins && !slices.ContainsFunc(procs, func(q Process) bool { return q.Name == p.Name }) {
			procs = append(procs, p)
		}
	}
	for i := range procs {
		procs[i].Joins = known[procs[i].Name].Joins
		if o.Address != nil {
			procs[i].settle(o.Address(procs[i].Name))
			continue
		}
		if err := ports.assign(&procs[i], known[procs[i].Name]); err != nil {
			return nil, err
		}
	}
	for i := range procs { // behind all others: where those are does not depend on it
		if err := ports.gossip(&procs[i], o, known[procs[i].Name].Gossip); err != nil {
			return nil, err
		}
	}
	return procs, nil
}

// gossip gives a process its port for gossip, if the fleet gossips.
func (c *portChooser) gossip(p *Process, o Options, before string) (err error) {
	switch {
	case !o.Gossip:
	case o.Address != nil:
		p.Gossip = net.JoinHostPort(o.Address(p.Name), "7004")
	default:
		if p.Gossip, err = c.choose(before); err != nil {
			return fmt.Errorf("choose a port for %s: %w", p.Name, err)
		}
	}
	return nil
}

// settle gives a process that has an address to itself its ports.
func (p *Process) settle(address string) {
	p.API, p.Raft, p.HTTP = net.JoinHostPort(address, "7001"), net.JoinHostPort(address, "7002"), net.JoinHostPort(address, "7003")
}

// portChooser holds the ports it gave until all are chosen, so that none is given twice.
type portChooser struct {
	next int
	held []net.Listener
}

func (c *portChooser) assign(p *Process, before Process) error {
	for _, slot := range []struct {
		addr *string
		old  string
	}{{&p.API, before.API}, {&p.Raft, before.Raft}, {&p.HTTP, before.HTTP}} {
		addr, err := c.choose(slot.old)
		if err != nil {
			return fmt.Errorf("choose a port for %s: %w", p.Name, err)
		}
		*slot.addr = addr
	}
	return nil
}

func (c *portChooser) choose(old string) (string, error) {
	if c.next != 0 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(c.next))
		c.next++
		return c.hold(addr)
	}
	if old != "" {
		if addr, err := c.hold(old); err == nil {
			return addr, nil
		}
	}
	return c.free()
}

// free finds a port that nobody takes while the process that has it is down.
func (c *portChooser) free() (string, error) {
	ln, err := freeport.Listen()
	if err != nil {
		return "", err
	}
	c.held = append(c.held, ln)
	return ln.Addr().String(), nil
}

func (c *portChooser) hold(addr string) (string, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listen %s: %w", addr, err)
	}
	c.held = append(c.held, ln)
	return ln.Addr().String(), nil
}

func (c *portChooser) release() {
	for _, ln := range c.held {
		_ = ln.Close() // only to free the port for the process that gets it
	}
}
