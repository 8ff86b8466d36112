package supervise

import (
	"github.com/drumline/drumline/drummer/fleet/rules"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
)

// Bounds of what a host may say, far above what ours say.
const (
	maxName     = 512
	maxDetail   = 16 << 10
	maxMembers  = 256
	maxReplicas = 100_000
)

// checkHello refuses a stream of another cluster, or one that says nothing usable.
func checkHello(h *drummerpb.Hello, deployment string) error {
	if h == nil {
		return fault.New(fault.Invalid, "the first message of a stream must be a hello")
	}
	host := h.GetHost()
	if h.GetDeployment() != deployment {
		return fault.New(fault.Invalid, "host %.64q belongs to deployment %.64q, these drummers to %q: check deployment and drummers in its configuration",
			host.GetName(), h.GetDeployment(), deployment)
	}
	if err := rules.CheckHost(host); err != nil {
		return fault.New(fault.Invalid, "the hello's host: %v", err)
	}
	if n := max(len(h.GetVersion()), len(h.GetFleet())); n > rules.MaxText {
		return fault.New(fault.Invalid, "the hello's version or fleet has %d bytes, at most %d are allowed", n, rules.MaxText)
	}
	return checkReplicas(h.GetReplicas())
}

// continueHello adds what a further part of a hello says of replicas.
func continueHello(h, part *drummerpb.Hello) error {
	if part == nil {
		return fault.New(fault.Invalid, "a hello that is not finished must be gone on with")
	}
	if n := len(h.GetReplicas()) + len(part.GetReplicas()); n > maxReplicas {
		return tooMany(n)
	}
	h.Replicas = append(h.Replicas, part.GetReplicas()...)
	return checkReplicas(part.GetReplicas())
}

func checkReport(r *drummerpb.Report) error {
	if len(r.GetGone()) > maxReplicas {
		return tooMany(len(r.GetGone()))
	}
	for _, g := range r.GetGone() {
		if g.GetGroup() == 0 || g.GetReplica() == 0 {
			return nameless()
		}
	}
	return checkReplicas(r.GetChanged())
}

func checkReplicas(list []*drummerpb.ReplicaReport) error {
	if len(list) > maxReplicas {
		return tooMany(len(list))
	}
	for _, r := range list {
		if r.GetGroup() == 0 || r.GetReplica() == 0 {
			return nameless()
		}
		m := r.GetMembership()
		if len(r.GetName()) > maxName || len(r.GetDetail()) > maxDetail || len(m.GetVoters())+len(m.GetObservers()) > maxMembers {
			return fault.New(fault.Invalid, "the report of group %d is too large", r.GetGroup())
		}
	}
	return nil
}

func tooMany(n int) error {
	return fault.New(fault.Invalid, "a report of %d replicas, at most %d are allowed", n, maxReplicas)
}

func nameless() error {
	return fault.New(fault.Invalid, "a report without a group's or a replica's number")
}

// maxUnheard bounds what a host may say of its neighbours.
const maxUnheard = 10_000

func checkNeighbours(n *drummerpb.Neighbours) error {
	if len(n.GetUnheard()) > maxUnheard {
		return fault.New(fault.Invalid, "%d neighbours are not heard, at most %d are told of", len(n.GetUnheard()), maxUnheard)
	}
	for _, id := range n.GetUnheard() {
		if len(id) > maxName {
			return fault.New(fault.Invalid, "a neighbour's id of %d bytes", len(id))
		}
	}
	return nil
}
