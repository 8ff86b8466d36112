package localfleet

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
)

// AddHost adds a nodehost in a region to the fleet, and returns its name; the caller
// starts it.
func (f *Fleet) AddHost(region string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hosts := 0
	for _, p := range f.procs {
		if p.Kind == KindNodeHost {
			hosts++
		}
	}
	p := Process{Name: "host-" + strconv.Itoa(hosts+1), Kind: KindNodeHost, Region: cmp.Or(region, f.opts.Regions[0])}
	ports := &portChooser{}
	defer ports.release()
	if f.opts.Address != nil {
		p.settle(f.opts.Address(p.Name))
	} else if err := ports.assign(&p, Process{}); err != nil {
		return "", err
	}
	if err := ports.gossip(&p, f.opts, ""); err != nil {
		return "", err
	}
	f.procs = append(slices.Clone(f.procs), p)
	return p.Name, errors.Join(f.configure(), writeLayout(f.opts.Dir, f.procs))
}
