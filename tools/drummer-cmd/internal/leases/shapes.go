package leases

import (
	"strings"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// Resource is one resource of `capacity list`.
type Resource struct {
	Resource string `json:"resource"`
	Region   string `json:"region"`
	// Leader is the host that leads its group.
	Leader   string  `json:"leader"`
	State    string  `json:"state"`
	Capacity float64 `json:"capacity"`
	// Granted is the sum of the newest leases, Reserved of what may still be used.
	Granted   float64 `json:"granted"`
	Reserved  float64 `json:"reserved"`
	Wants     float64 `json:"wants"`
	Clients   int64   `json:"clients"`
	Algorithm string  `json:"algorithm"`
	Revision  uint64  `json:"revision"`
	Parent    string  `json:"parent,omitempty"`
	// Problem says why there are no numbers.
	Problem string `json:"problem,omitempty"`
}

// place is which resource it is.
func (r *Resource) place() place { return place{r.Resource, r.Region} }

// Fill puts a summary's numbers in.
func (r *Resource) Fill(s *capacitypb.Summary) {
	r.Capacity, r.Granted, r.Reserved, r.Wants = s.GetCapacity(), s.GetGranted(), s.GetReserved(), s.GetWants()
	r.Clients, r.Revision, r.Parent = s.GetClients(), s.GetRevision(), s.GetDefinition().GetParent()
	r.Algorithm = AlgorithmName(s.GetDefinition().GetAlgorithm())
}

// AlgorithmName is an algorithm's name in configurations.
func AlgorithmName(a capacitypb.Algorithm) string {
	switch a {
	case capacitypb.Algorithm_ALGORITHM_UNSPECIFIED:
		return ""
	case capacitypb.Algorithm_ALGORITHM_NONE:
		return "NO_ALGORITHM"
	default:
		return strings.TrimPrefix(a.String(), "ALGORITHM_")
	}
}

// ResourceDetail is one resource with those who hold it.
type ResourceDetail struct {
	Resource
	// LeaseSeconds and RefreshSeconds of the definition.
	LeaseSeconds   float64 `json:"lease_seconds"`
	RefreshSeconds float64 `json:"refresh_seconds"`
	// SafeCapacity as configured; absent for an equal share.
	SafeCapacity *float64 `json:"safe_capacity,omitempty"`
	// Level is what nobody gets more of, per unit of weight; absent when all get what they want.
	Level    *float64 `json:"level,omitempty"`
	Learning bool     `json:"learning"`
	Bands    []Band   `json:"bands"`
	Holders  []Holder `json:"holders"`
}

// Band is the clients of one priority.
type Band struct {
	Priority int64    `json:"priority"`
	Clients  int64    `json:"clients"`
	Wants    float64  `json:"wants"`
	Level    *float64 `json:"level,omitempty"`
}

// Holder is one client or server with a lease.
type Holder struct {
	Client string `json:"client"`
	// Clients is how many it stands for.
	Clients  int64   `json:"clients"`
	Priority int64   `json:"priority"`
	Wants    float64 `json:"wants"`
	Granted  float64 `json:"granted"`
	Reserved float64 `json:"reserved"`
	// Seconds until its newest lease ends, as of the group's last command.
	Seconds float64 `json:"seconds"`
}

// Detail puts all of a summary in but the holders.
func (r *ResourceDetail) Detail(a *capacitypb.Answer) {
	s := a.GetSummary()
	def := s.GetDefinition()
	r.Fill(s)
	r.LeaseSeconds, r.RefreshSeconds = milliseconds(def.GetLeaseLengthMs()), milliseconds(def.GetRefreshIntervalMs())
	r.SafeCapacity, r.Level, r.Learning = def.SafeCapacity, s.Level, a.GetTime() < s.GetLearningUntil() //nolint:protogetter // absent is not 0
	r.Bands, r.Holders = []Band{}, []Holder{}
	for _, b := range s.GetBands() {
		r.Bands = append(r.Bands, Band{Priority: b.GetPriority(), Clients: b.GetClients(), Wants: b.GetWants(), Level: b.Level}) //nolint:protogetter // absent is not 0
	}
}

// OfHolder translates a holder; now is the lease clock of the answer that it came in.
func OfHolder(h *capacitypb.Holder, now int64) Holder {
	out := Holder{
		Client: h.GetClientId(), Granted: h.GetGranted(), Reserved: h.GetReserved(),
		Seconds: max(time.Duration(h.GetExpires()-now).Seconds(), 0),
	}
	for i, b := range h.GetBands() {
		out.Clients += b.GetClients()
		out.Wants += b.GetWants()
		if i == 0 || b.GetPriority() > out.Priority {
			out.Priority = b.GetPriority()
		}
	}
	return out
}

// Lease is what a client was granted.
type Lease struct {
	Client         string  `json:"client"`
	Resource       string  `json:"resource"`
	Region         string  `json:"region"`
	Wants          float64 `json:"wants"`
	Capacity       float64 `json:"capacity"`
	LeaseSeconds   float64 `json:"lease_seconds"`
	RefreshSeconds float64 `json:"refresh_seconds"`
	SafeCapacity   float64 `json:"safe_capacity"`
}

// OfGrant translates a grant.
func OfGrant(g *capacitypb.Grant) Lease {
	return Lease{
		Capacity: g.GetCapacity(), LeaseSeconds: milliseconds(g.GetLeaseMs()), RefreshSeconds: milliseconds(g.GetRefreshMs()),
		SafeCapacity: g.GetSafeCapacity(),
	}
}

// Released is a lease that was given back.
type Released struct {
	Client   string `json:"client"`
	Resource string `json:"resource"`
	Region   string `json:"region"`
	Released bool   `json:"released"`
}

func milliseconds(ms int64) float64 { return float64(ms) / 1000 }

// HolderChange is one line of `capacity watch`.
type HolderChange struct {
	Time     string `json:"time"`
	Resource string `json:"resource"`
	Region   string `json:"region"`
	Client   string `json:"client"`
	// Kind is new, changed or gone.
	Kind       string  `json:"kind"`
	Granted    float64 `json:"granted"`
	WasGranted float64 `json:"was_granted"`
	Wants      float64 `json:"wants"`
	WasWants   float64 `json:"was_wants"`
}
