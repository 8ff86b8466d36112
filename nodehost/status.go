package nodehost

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/capacity"
	"github.com/drumline/drumline/nodehost/replicas"
)

// openPages serves what people see of the host in a browser.
func (h *host) openPages() error {
	pages, err := h.leases.Pages(h.cfg.Name)
	if err != nil {
		return err
	}
	h.server.Handle("GET /debug/status", statusHandler{h, pages})
	h.server.Handle("GET /debug/resources", pages)
	h.counters.Handle(h.server.Handle)
	return nil
}

// statusHandler answers GET /debug/status: what lives here and how it is, for people who
// look for a fault, and the cluster's resources. Browsers get a page, others JSON, whose
// fields may change.
type statusHandler struct {
	h     *host
	pages *capacity.Pages
}

// hostStatus is the whole answer.
type hostStatus struct {
	Name      string          `json:"name"`
	ID        ids.Host        `json:"id"`
	BootEpoch uint64          `json:"boot_epoch"`
	Booted    bool            `json:"booted"`
	Storage   string          `json:"storage"`
	Boot      bootStatus      `json:"boot"`
	API       string          `json:"api"`
	Raft      string          `json:"raft"`
	Drummer   string          `json:"drummer"`
	Replicas  []replicaStatus `json:"replicas"`
	// Capacity is a page of the cluster's resources: ?after=RESOURCE has the next one. It is
	// absent on a host without that app.
	Capacity *capacity.Overview `json:"capacity,omitempty"`
	// Configurations of apps that the host follows.
	Configurations []configurationStatus `json:"configurations"`
}

// configurationStatus is what is in force for an app, as far as the host knows.
type configurationStatus struct {
	App      string `json:"app"`
	Revision uint64 `json:"revision"`
	// Templates are the matches, in significant order.
	Templates []string `json:"templates"`
}

// bootStatus is how far the start of the manifest's replicas is.
type bootStatus struct {
	Total   int `json:"total"`
	Through int `json:"through"`
}

// replicaStatus is one replica.
type replicaStatus struct {
	Group    ids.Group   `json:"group"`
	Replica  ids.Replica `json:"replica"`
	Name     string      `json:"name"`
	Region   string      `json:"region,omitempty"`
	State    string      `json:"state"`
	Detail   string      `json:"detail,omitempty"`
	Observer bool        `json:"observer"`
	Leader   ids.Replica `json:"leader"`
	Term     uint64      `json:"term"`
	Serving  bool        `json:"serving"`
	Applied  uint64      `json:"applied"`
	Opened   bool        `json:"opened"`
	Sealed   bool        `json:"sealed"`
	Unloaded bool        `json:"unloaded"`
}

// ServeHTTP writes the status.
func (s statusHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	status := s.h.status()
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.pages.Status(w, r, status.facts())
		return
	}
	if slices.Contains(s.h.o.Apps.Names(), "capacity") {
		status.Capacity = new(s.h.leases.Overview(r.Context(), r.FormValue("after")))
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(status) // the client may have left
}

// facts are what the page says of the host itself.
func (s hostStatus) facts() []capacity.Fact {
	up, leads := 0, 0
	for _, r := range s.Replicas {
		if r.State == "ok" {
			up++
		}
		if r.Serving {
			leads++
		}
	}
	return []capacity.Fact{
		{Name: "Id", Value: string(s.ID)},
		{Name: "Boot epoch", Value: fmt.Sprint(s.BootEpoch)},
		{Name: "Boot", Value: fmt.Sprintf("%d of %d replicas are through", s.Boot.Through, s.Boot.Total)},
		{Name: "Storage", Value: storageWord(s.Storage)},
		{Name: "Addresses", Value: fmt.Sprintf("gRPC %s, Raft %s", s.API, s.Raft)},
		{Name: "Drummer", Value: s.Drummer},
		{Name: "Replicas", Value: fmt.Sprintf("%d, of which %d are up and %d lead and serve", len(s.Replicas), up, leads)},
	}
}

// storageWord says loudly what does not last.
func storageWord(storage string) string {
	if storage == config.StorageMemory {
		return "MEMORY: everything here ends with the process"
	}
	return storage
}

func (h *host) status() hostStatus {
	p := h.keeper.Progress()
	out := hostStatus{
		Name: h.cfg.Name, ID: h.dir.Host(), BootEpoch: h.dir.BootEpoch(), Booted: p.Done, Boot: bootStatus{p.Total, p.Through},
		Storage: h.cfg.Storage, API: h.server.APIAddr(), Raft: h.transport.Addr(), Drummer: h.agent.Stats().Drummer,
		Replicas: []replicaStatus{}, Configurations: []configurationStatus{},
	}
	for _, c := range h.book.Configurations() {
		matches := []string{}
		for _, t := range c.GetTemplates() {
			matches = append(matches, t.GetMatch())
		}
		out.Configurations = append(out.Configurations, configurationStatus{c.GetApp(), c.GetRevision(), matches})
	}
	for _, l := range h.keeper.Locals() {
		out.Replicas = append(out.Replicas, h.replicaStatus(l))
	}
	return out
}

func (h *host) replicaStatus(l replicas.Local) replicaStatus {
	r := replicaStatus{
		Group: l.Record.Group, Replica: l.Record.Replica, Name: l.Record.Name, Region: l.Record.Region,
		State: stateWord(l), Detail: l.Detail, Observer: l.Record.Join,
	}
	if s, ok := h.raft.Status(l.Record.Group); ok && s.Replica == l.Record.Replica {
		r.Observer, r.Leader, r.Term, r.Serving = s.Observer, s.Leader, s.Term, s.Serving
		r.Applied, r.Opened, r.Sealed, r.Unloaded = s.Applied, s.Opened, s.Sealed, s.Unloaded
	}
	return r
}
