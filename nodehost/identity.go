package nodehost

import (
	"maps"
	"slices"
	"time"

	"github.com/drumline/drumline/config"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/hostdir"
	"github.com/drumline/drumline/nodehost/agent"
)

// self is what the host says of itself.
func (h *host) self() *fleetpb.Host {
	s := &fleetpb.Host{
		Id: string(h.dir.Host()), Name: h.cfg.Name, Region: h.cfg.Region, Zone: h.cfg.Zone,
		Api: h.server.APIAddr(), Raft: h.transport.Addr(), BootEpoch: h.dir.BootEpoch(), Gossip: h.gossip.Address(),
		TickUs:   uint64(h.cfg.Tick.Microseconds()), //nolint:gosec // the configuration was checked
		InMemory: h.inMemory(), Sleep: fleetpb.Sleep_SLEEP_NEVER,
	}
	if h.cfg.Hibernate {
		s.Sleep = fleetpb.Sleep_SLEEP_HIBERNATE
	}
	for _, k := range slices.Sorted(maps.Keys(h.cfg.Labels)) {
		s.Labels = append(s.Labels, k+"="+h.cfg.Labels[k])
	}
	for _, name := range h.o.Apps.Names() {
		if a, err := h.o.Apps.App(name); err == nil {
			s.Apps = append(s.Apps, &fleetpb.App{Name: a.Name, Version: a.Version})
		}
	}
	return s
}

// inMemory tells whether everything here ends with the process.
func (h *host) inMemory() bool { return h.cfg.Storage == config.StorageMemory }

// now is what this host takes for the time of day.
func (h *host) now() time.Time { return time.Now().Add(h.cfg.ClockOffset) }

// warnOfClock says loudly that the clock is not the machine's.
func (h *host) warnOfClock() {
	if h.cfg.ClockOffset != 0 {
		h.log.Warn("THE CLOCK IS SET OFF: times of day are not the machine's; for tests only", "name", h.cfg.Name, "clock_offset", h.cfg.ClockOffset)
	}
}

// openDir opens the data directory, or what stands for it.
func (h *host) openDir() (*hostdir.Dir, error) {
	if !h.inMemory() {
		return hostdir.Open(h.cfg.DataDir)
	}
	h.log.Warn("STORAGE IS IN MEMORY: replicas end with this process, nothing is synced, and every start is a new host; for tests only",
		"name", h.cfg.Name, "storage", h.cfg.Storage)
	return hostdir.OpenMemory(h.cfg.DataDir)
}

func (h *host) agentOptions() agent.Options {
	o := h.o.Agent // its times
	o.Self, o.Deployment, o.Version = h.self(), h.cfg.Deployment, config.Version()
	o.Drummers, o.Pool, o.Log = h.cfg.Drummers, h.pool, h.log
	o.Replicas, o.Book, o.DB = h.keeper, h.dir.Book(), h.dir.DB()
	o.Configured = h.book.Learn
	if h.gossip != nil {
		o.Unheard = h.unheard
	}
	o.Booting, o.Booted, o.Age = h.progress, h.keeper.Booted(), h.dir.Age
	return o
}
