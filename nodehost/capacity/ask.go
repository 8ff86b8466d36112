package capacity

import (
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

// maxAsks bounds the entries of one request.
const maxAsks = 4096

// ask is one entry of a request.
type ask struct {
	resource string
	region   string // of the group, where each region has one of the name; else empty
	request  *capacitypb.Request
}

// full is the name of the resource with the region.
func (a ask) full() string { return statemachines.NameIn(a.resource, a.region) }

// groupOf is the name of a resource's group, full if the resource's is.
func groupOf(resource string) string { return capacity.Name + "/" + resource }

// check refuses a request of which anything is wrong, before anything of it is proposed.
func check(client string, asks []ask) error {
	if err := checkClient(client); err != nil {
		return err
	}
	if len(asks) > maxAsks {
		return fault.New(fault.TooLarge, "the request has %d entries, at most %d are allowed", len(asks), maxAsks)
	}
	for i, a := range asks {
		if err := a.check(); err != nil {
			return fault.New(fault.Invalid, "entry %d: %s", i+1, err)
		}
	}
	return nil
}

// check says what is wrong with one entry.
func (a ask) check() error {
	if err := checkResource(a.resource); err != nil {
		return err
	}
	if err := statemachines.CheckRegion(a.region); err != nil {
		return fmt.Errorf("resource %q: %w", a.resource, err)
	}
	if why := wrong(a.request); why != "" {
		return fmt.Errorf("resource %q: %s", a.resource, why)
	}
	return nil
}

// wrong says what the machine would refuse of a request, or nothing. The machine checks
// again; here it is known before other resources are concerned.
func wrong(r *capacitypb.Request) string {
	if n := len(r.GetBands()); n == 0 || n > capacity.MaxBands {
		return fmt.Sprintf("it has %d bands, want 1 to %d", n, capacity.MaxBands)
	}
	if has := r.GetHas(); !amount(has) {
		return fmt.Sprintf("has is %v, want a finite number that is not negative", has)
	}
	var clients int64
	var seen map[int64]bool // of several bands; nearly always there is one
	if len(r.GetBands()) > 1 {
		seen = make(map[int64]bool, len(r.GetBands()))
	}
	for _, b := range r.GetBands() {
		switch n := b.GetClients(); {
		case !amount(b.GetWants()):
			return fmt.Sprintf("wants is %v, want a finite number that is not negative", b.GetWants())
		case n < 1 || n > capacity.MaxWeight:
			return fmt.Sprintf("a band is of %d clients, want 1 to %d", n, capacity.MaxWeight)
		case seen[b.GetPriority()]:
			return fmt.Sprintf("priority %d has two bands", b.GetPriority())
		}
		if seen != nil {
			seen[b.GetPriority()] = true
		}
		clients += b.GetClients()
	}
	if clients > capacity.MaxWeight {
		return fmt.Sprintf("it is for %d clients, at most %d are allowed", clients, capacity.MaxWeight)
	}
	return ""
}

// amount tells whether v is finite and not negative.
func amount(v float64) bool { return v >= 0 && !math.IsInf(v, 1) }

// checkClient refuses names under which no lease can be kept.
func checkClient(id string) error {
	if id == "" || len(id) > capacity.MaxID || !utf8.ValidString(id) {
		return fault.New(fault.Invalid, "the client's id has %d bytes: it needs 1 to %d of UTF-8, and no two clients may share one", len(id), capacity.MaxID)
	}
	return nil
}

// checkResource refuses names that no group can have.
func checkResource(id string) error {
	if id == "" {
		return fault.New(fault.Invalid, "the resource's id is empty: name the resource")
	}
	if err := statemachines.CheckGroupName(groupOf(id)); err != nil {
		return fault.New(fault.Invalid, "resource %q: %s", id, err)
	}
	return nil
}

// checkFull is checkResource for a name that may have a region.
func checkFull(full string) error {
	name, region := statemachines.CutRegion(full)
	if err := checkResource(name); err != nil {
		return err
	}
	if err := statemachines.CheckRegion(region); err != nil {
		return fault.New(fault.Invalid, "resource %q: %s", name, err)
	}
	return nil
}

// entry is one of a client's, with all that it points to: those of a request are one piece of
// memory.
type entry struct {
	request capacitypb.Request
	band    capacitypb.Band
	bands   [1]*capacitypb.Band
	has     float64
}

// asksOfClient takes a client's entries off the original's wire.
func asksOfClient(req *doormanpb.GetCapacityRequest) []ask {
	asks, room := make([]ask, len(req.GetResource())), make([]entry, len(req.GetResource()))
	for i, r := range req.GetResource() {
		e := &room[i]
		e.band.Priority, e.band.Clients, e.band.Wants = r.GetPriority(), 1, r.GetWants()
		e.bands[0] = &e.band
		e.request.ClientId, e.request.Bands = req.GetClientId(), e.bands[:]
		if r.GetHas() != nil {
			e.has = r.GetHas().GetCapacity()
			e.request.Has = &e.has
		}
		asks[i] = ask{resource: r.GetResourceId(), request: &e.request}
	}
	return asks
}

// asksOfServer takes a server's entries off the original's wire: what its clients want,
// summed up by priority.
func asksOfServer(req *doormanpb.GetServerCapacityRequest) []ask {
	asks := make([]ask, len(req.GetResource()))
	for i, r := range req.GetResource() {
		asks[i] = ask{resource: r.GetResourceId(), request: &capacitypb.Request{
			ClientId: req.GetServerId(), Bands: bandsOf(r.GetWants()), Has: held(r.GetHas()),
		}}
	}
	return asks
}

// bandsOf joins what is said of one priority: the original allows to say it in parts.
func bandsOf(wants []*doormanpb.PriorityBandAggregate) []*capacitypb.Band {
	var bands []*capacitypb.Band
	place := map[int64]int{}
	for _, w := range wants {
		// A part that is wrong must not vanish in a sum that is right.
		sound := w.GetNumClients() > 0 && w.GetWants() >= 0 && !math.IsInf(w.GetWants(), 1)
		at, again := place[w.GetPriority()]
		if again && sound {
			bands[at].Clients += w.GetNumClients()
			bands[at].Wants += w.GetWants()
			continue
		}
		if !again {
			place[w.GetPriority()] = len(bands)
		}
		bands = append(bands, &capacitypb.Band{Priority: w.GetPriority(), Clients: w.GetNumClients(), Wants: w.GetWants()})
	}
	return bands
}

// held is the capacity of a lease that a client says it has.
func held(l *doormanpb.Lease) *float64 {
	if l == nil {
		return nil
	}
	return new(l.GetCapacity())
}

// asksOf takes the entries of a native request. What a newer client adds to it, which this
// host does not know, is left out: the machine would refuse a command that has it.
func asksOf(req *capacitypb.RefreshRequest) []ask {
	asks := make([]ask, len(req.GetAsks()))
	for i, a := range req.GetAsks() {
		r := &capacitypb.Request{
			ClientId: req.GetClientId(), Bands: a.GetBands(), Has: a.Has, //nolint:protogetter // absent is not 0
			Token: a.GetToken(), Serial: a.GetSerial(), Limited: a.GetLimited(),
		}
		for _, b := range r.GetBands() {
			known(b)
		}
		known(r.GetToken())
		asks[i] = ask{resource: a.GetResource(), region: a.GetRegion(), request: r}
	}
	return asks
}

// known takes fields that this host does not know out of a message.
func known(m proto.Message) {
	if r := m.ProtoReflect(); r.IsValid() && len(r.GetUnknown()) > 0 {
		r.SetUnknown(nil)
	}
}
