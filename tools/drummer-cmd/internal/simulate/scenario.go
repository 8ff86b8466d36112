package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines/capacity"
)

// Scenario is what a file describes.
type Scenario struct {
	Title    string   `json:"title"`
	Duration Duration `json:"duration"`
	// Report is the time between two rows; 5 s if it is not set.
	Report Duration `json:"report"`
	// Seed of all that is random.
	Seed    uint64    `json:"seed"`
	Servers []Server  `json:"servers"` // parents before their children; the first is the root
	Clients []Clients `json:"clients"`
	Events  []Event   `json:"events"`
	Mishaps *Mishaps  `json:"mishaps"`
}

// Server is the group of one resource.
type Server struct {
	Name     string   `json:"name"`
	Parent   string   `json:"parent"`
	Capacity *float64 `json:"capacity"`
	// Safe is what a client may use that lost its server; not set: an equal share.
	Safe      *float64 `json:"safe_capacity"`
	Algorithm string   `json:"algorithm"`
	Lease     Duration `json:"lease_length"`
	Refresh   Duration `json:"refresh_interval"`
}

// Clients are some clients of one server that want about the same.
type Clients struct {
	Server   string  `json:"server"`
	Count    int     `json:"count"`
	Priority int64   `json:"priority"`
	Wants    float64 `json:"wants"`
	// Vary is the part by which wants go up and down at random, each Every.
	Vary  float64  `json:"vary"`
	Every Duration `json:"every"`
}

// Event happens once.
type Event struct {
	At Duration `json:"at"`
	// Kind is lost (Server has no leader) or spike (some Clients want Wants instead).
	Kind    string   `json:"kind"`
	Server  string   `json:"server"`
	Clients int      `json:"clients"`
	Wants   float64  `json:"wants"`
	For     Duration `json:"for"`
}

// Mishaps happen at random: a client wants 100 more for a minute, or a server gets
// another leader at once, or has none for up to a minute.
type Mishaps struct {
	From  Duration `json:"from"`
	Every Duration `json:"every"`
}

// Kinds of events.
const (
	lost  = "lost"
	spike = "spike"
)

// Duration is a length of time, written as 1m30s or as a number of seconds.
type Duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	text := string(data)
	if !strings.HasPrefix(text, `"`) {
		text = `"` + text + `s"`
	}
	var s string
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("a length of time: %w", err)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("a length of time is written like 1m30s: %w", err)
	}
	*d = Duration(v)
	return nil
}

// Limits that keep a scenario from running for ever.
const (
	maxDuration = 24 * time.Hour
	maxClients  = 10_000
	maxServers  = 1_000
	maxRows     = 100_000
	maxWants    = 1e300 // so that their sum is a number
	// leastEvery is between two times at which something happens again.
	leastEvery = Duration(time.Millisecond)
)

// Parse reads and checks a scenario; keys that it does not know are errors.
func Parse(data []byte) (*Scenario, error) {
	s := &Scenario{Report: Duration(5 * time.Second)}
	if err := yaml.UnmarshalStrict(data, s); err != nil {
		return nil, fmt.Errorf("read the scenario: %w", err)
	}
	return s, errors.Join(s.checkSize(), s.checkServers(), s.checkClients(), s.checkEvents())
}

func (s *Scenario) checkSize() error {
	clients := 0
	for _, c := range s.Clients {
		clients += min(max(0, c.Count), maxClients+1) // a sum that cannot run over
	}
	switch {
	case s.Duration <= 0 || time.Duration(s.Duration) > maxDuration:
		return fmt.Errorf("duration: want more than 0 and at most %s", maxDuration)
	case s.Report < leastEvery:
		return fmt.Errorf("report: want at least %s", time.Duration(leastEvery))
	case s.Duration/s.Report > maxRows:
		return fmt.Errorf("report: every %s there are more than %d rows", time.Duration(s.Report), maxRows)
	case len(s.Servers) == 0 || len(s.Servers) > maxServers:
		return fmt.Errorf("servers: there are %d, want 1 to %d", len(s.Servers), maxServers)
	case clients == 0 || clients > maxClients:
		return fmt.Errorf("clients: there are %d, want 1 to %d", clients, maxClients)
	case s.Mishaps != nil && (s.Mishaps.Every < leastEvery || s.Mishaps.From < 0):
		return fmt.Errorf("mishaps: want every from %s on, and from from 0 on", time.Duration(leastEvery))
	}
	return nil
}

func (s *Scenario) checkServers() error {
	seen := map[string]bool{}
	for i, v := range s.Servers {
		_, err := v.definition()
		switch {
		case v.Name == "" || seen[v.Name]:
			return fmt.Errorf("servers[%d]: the name %q is empty or taken", i, v.Name)
		case (v.Parent == "") != (i == 0):
			return fmt.Errorf("servers[%d]: the first server is the root, all others have a parent", i)
		case v.Parent != "" && !seen[v.Parent]:
			return fmt.Errorf("servers[%d]: the parent %q is not there yet: parents come first", i, v.Parent)
		case err != nil:
			return fmt.Errorf("servers[%d]: %w", i, err)
		}
		seen[v.Name] = true
	}
	return nil
}

// definition is that of the server's group.
func (v Server) definition() (*capacitypb.Definition, error) {
	kind, ok := capacitypb.Algorithm_value["ALGORITHM_"+strings.ToUpper(v.Algorithm)]
	if strings.EqualFold(v.Algorithm, "NO_ALGORITHM") {
		kind, ok = int32(capacitypb.Algorithm_ALGORITHM_NONE), true
	}
	if !ok {
		return nil, fmt.Errorf("there is no algorithm %q", v.Algorithm)
	}
	d := &capacitypb.Definition{
		Capacity: v.Capacity, SafeCapacity: v.Safe, Algorithm: capacitypb.Algorithm(kind),
		LeaseLengthMs: time.Duration(v.Lease).Milliseconds(), RefreshIntervalMs: time.Duration(v.Refresh).Milliseconds(),
	}
	if v.Parent != "" {
		d.Parent = capacity.Name + "/" + v.Parent
	}
	return d, capacity.CheckDefinition(d)
}

func (s *Scenario) serverAt(name string) int {
	return slices.IndexFunc(s.Servers, func(v Server) bool { return v.Name == name })
}

func (s *Scenario) checkClients() error {
	for i, c := range s.Clients {
		switch {
		case s.serverAt(c.Server) < 0:
			return fmt.Errorf("clients[%d]: there is no server %q", i, c.Server)
		case c.Count < 1 || c.Wants < 0 || c.Wants > maxWants || c.Vary < 0 || c.Vary > 1:
			return fmt.Errorf("clients[%d]: want a count from 1 on, wants from 0 to %g and vary from 0 to 1", i, maxWants)
		case c.Vary > 0 && c.Every < leastEvery:
			return fmt.Errorf("clients[%d]: say how often wants vary: every, from %s on", i, time.Duration(leastEvery))
		}
	}
	return nil
}

func (s *Scenario) checkEvents() error {
	for i, e := range s.Events {
		switch {
		case e.At < 0 || e.For <= 0:
			return fmt.Errorf("events[%d]: say when (at) and for how long (for)", i)
		case e.Kind == lost && s.serverAt(e.Server) < 0:
			return fmt.Errorf("events[%d]: there is no server %q", i, e.Server)
		case e.Kind == spike && (e.Clients < 1 || e.Wants < 0 || e.Wants > maxWants):
			return fmt.Errorf("events[%d]: a spike needs clients and wants", i)
		case e.Kind != lost && e.Kind != spike:
			return fmt.Errorf("events[%d]: there is no kind %q: use %s or %s", i, e.Kind, lost, spike)
		}
	}
	return nil
}
