package planner

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/drumline/drumline/drummer/fleet/words"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// post is a host as one plan sees it.
type post struct {
	rec   *fleetpb.Host
	seen  *Host
	place int
	// load is its replicas, without those that are moved away and with those that this
	// plan gives it; entries is all that the record has there, leftovers included.
	load, entries int
	building      int // replicas being built there
	leads         int // groups led from there
}

// post returns a host of the record; never nil.
func (p *pass) post(id string) *post { return p.at[p.memo.Of(id)] }

// host returns what is known of a host; one never heard counts as suspect.
func (p *pass) host(id string) *Host { return p.post(id).seen }

// name is a host's name for people.
func (p *pass) name(id string) string { return cmp.Or(p.post(id).rec.GetName(), id) }

// up tells that orders reach it and it is heard.
func (h *post) up() bool { return h.seen.Connected && h.seen.State == Up }

// empties tells that everything shall leave it.
func (h *post) empties() bool { return words.Leaves(h.rec.GetWanted().GetDuty()) }

// closed says why it gets nothing new, for people; empty when it may.
func (h *post) closed() string {
	switch {
	case h.rec.GetWanted().GetDuty() == fleetpb.HostDuty_HOST_DUTY_CORDONED:
		return "are cordoned"
	case h.empties():
		return "are being emptied"
	case h.seen.Maintained:
		return "are in maintenance"
	}
	return ""
}

// leadable tells that leaders may be there.
func (h *post) leadable() bool { return h.up() && h.closed() == "" }

// kind is all of a host that rules of placement look at.
func (h *post) kind() string {
	return strings.Join(append([]string{h.rec.GetRegion(), h.rec.GetZone()}, h.rec.GetLabels()...), "\n")
}

// weight is its share in percent of an ordinary host's.
func (h *post) weight() int { return int(words.Weight(h.rec)) }

// report returns what the host says of a replica; nil when it says nothing.
func (h *post) report(g *fleetpb.Group, r *fleetpb.Replica) *drummerpb.ReplicaReport {
	return h.seen.Replicas[Ref{ids.Group(g.GetId()), ids.Replica(r.GetId())}]
}

// Record implements spread.Host.
func (h *post) Record() *fleetpb.Host { return h.rec }

// Doubt implements spread.Host.
func (h *post) Doubt() int { return boolInt(h.seen.Flapping) }

// lighter compares what two hosts carry for their weight.
func lighter(a, b *post) int { return cmp.Compare(a.load*b.weight(), b.load*a.weight()) }

// tidyHosts notes which hosts have nothing left, and says why others have.
func (p *pass) tidyHosts() {
	for h := range p.Fleet.Hosts() {
		at := p.post(h.GetId())
		id := ids.Host(h.GetId())
		switch {
		case !at.empties() || !h.GetLost() && h.GetWanted().GetEmpty():
		case at.entries > 0:
			p.hostReasons[id] = append(p.hostReasons[id], fmt.Sprintf("%d replica%s, or leftovers of them, are still on it", at.entries, plural(at.entries)))
		case h.GetLost():
			p.actions = append(p.actions, ranked{Action{Command: &fleetpb.Command{Op: &fleetpb.Command_RemoveHost{
				RemoveHost: &fleetpb.RemoveHost{HostId: h.GetId(), Author: h.GetWanted().GetAuthor()},
			}}, Why: "nothing of it is wanted any more"}, recording})
		default:
			p.actions = append(p.actions, ranked{Action{Command: &fleetpb.Command{Op: &fleetpb.Command_HostEmptied{
				HostEmptied: &fleetpb.HostEmptied{HostId: h.GetId()},
			}}, Why: "nothing is left on it"}, recording})
		}
		if text := at.closed(); text != "" && !at.empties() {
			p.hostReasons[id] = append(p.hostReasons[id], "it gets no new replicas and no leaders: it is "+strings.TrimPrefix(text, "are "))
		}
		if reasons := at.seen.Reasons(at.seen.Flapping); len(reasons) > 0 {
			p.hostReasons[id] = append(p.hostReasons[id], reasons...)
		}
	}
}
