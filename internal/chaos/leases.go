package chaos

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// Leases records what clients of capacity ask and are told, on its way to and from them,
// and judges afterwards whether they were ever told more than there is. It knows nothing
// of servers, and shares no code with the client: it counts as an honest client has to.
type Leases struct {
	mu     sync.Mutex
	events []leaseEvent // guarded by mu
}

// leaseEvent is a request that leaves a client, or an answer that reaches it.
type leaseEvent struct {
	at               time.Time
	client, resource string
	kind             leaseKind
	wants            float64 // of an ask
	sent             time.Time
	grant            *capacitypb.Grant // of an answer
}

type leaseKind int

const (
	leaseAsked leaseKind = iota
	leaseAnswered
	leaseReleased
)

// Through is a connection whose calls are recorded.
func (l *Leases) Through(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return &recorded{ClientConnInterface: conn, l: l}
}

type recorded struct {
	grpc.ClientConnInterface
	l *Leases
}

// Invoke makes a call and records it.
func (r *recorded) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	sent := time.Now()
	switch q := args.(type) {
	case *capacitypb.RefreshRequest:
		r.l.asked(sent, q)
		err := r.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
		if a, ok := reply.(*capacitypb.RefreshResponse); err == nil && ok {
			r.l.answered(sent, q.GetClientId(), a)
		}
		return err
	case *capacitypb.ReleaseRequest:
		r.l.released(sent, q)
	}
	return r.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

func (l *Leases) asked(sent time.Time, q *capacitypb.RefreshRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range q.GetAsks() {
		wants := 0.0
		for _, b := range a.GetBands() {
			wants += b.GetWants()
		}
		l.events = append(l.events, leaseEvent{at: sent, client: q.GetClientId(), resource: a.GetResource(), kind: leaseAsked, wants: wants})
	}
}

func (l *Leases) answered(sent time.Time, client string, a *capacitypb.RefreshResponse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, g := range a.GetGrants() {
		if g.GetFault() == nil && g.GetGrant().GetOutcome() == capacitypb.Outcome_OUTCOME_OK {
			l.events = append(l.events, leaseEvent{at: now, client: client, resource: g.GetResource(), kind: leaseAnswered, sent: sent, grant: g.GetGrant()})
		}
	}
}

func (l *Leases) released(sent time.Time, q *capacitypb.ReleaseRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range q.GetResources() {
		l.events = append(l.events, leaseEvent{at: sent, client: q.GetClientId(), resource: name, kind: leaseReleased})
	}
}

// LeaseReport is what came of a resource.
type LeaseReport struct {
	// Answers is the number of leases that clients were given.
	Answers int
	// Most is the largest sum that was in use, as a share of the capacity; Mean is its
	// mean over time, from the first to the last event.
	Most, Mean float64
	// Gap is the longest time between two answers to any clients.
	Gap time.Duration
}

// slack is what sums of floating point numbers may be off, as a share.
const slack = 1e-9

// Judge tells what came of a resource, and fails if at any instant more than its capacity
// was in use. Call it when the clients have ended.
func (l *Leases) Judge(resource string, capacity float64) (LeaseReport, error) {
	return l.JudgeAll(capacity, resource)
}

// JudgeAll is Judge for resources that share one capacity: the leaves of a tree.
func (l *Leases) JudgeAll(capacity float64, resources ...string) (LeaseReport, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	byClient := map[string][]leaseEvent{}
	var report LeaseReport
	var answered time.Time
	for _, e := range l.events {
		if !slices.Contains(resources, e.resource) {
			continue
		}
		holder := e.client + " of " + e.resource
		byClient[holder] = append(byClient[holder], e)
		if e.kind != leaseAnswered {
			continue
		}
		report.Answers++
		if !answered.IsZero() {
			report.Gap = max(report.Gap, e.at.Sub(answered))
		}
		answered = e.at
	}
	var all []use
	for client, events := range byClient {
		all = append(all, uses(client, events)...)
	}
	return report, sweep(all, capacity, &report)
}

// use says what a client uses from an instant on.
type use struct {
	at     time.Time
	client string
	amount float64
}

// uses are what an honest client uses: what its newest answer says, from when it arrives
// until the lease ends, which counts from when it was asked for; never more than it has
// asked for since; and nothing after a release.
func uses(client string, events []leaseEvent) (all []use) {
	slices.SortStableFunc(events, func(a, b leaseEvent) int { return a.at.Compare(b.at) })
	var amount float64
	var ends time.Time
	var token *capacitypb.Token
	set := func(at time.Time, v float64) {
		amount = v
		all = append(all, use{at: at, client: client, amount: v})
	}
	for _, e := range events {
		if amount > 0 && !e.at.Before(ends) {
			set(ends, 0)
		}
		switch e.kind {
		case leaseAsked:
			if e.wants < amount {
				set(e.at, e.wants)
			}
		case leaseReleased:
			set(e.at, 0)
			token = nil
		case leaseAnswered:
			if token != nil && e.at.Before(ends) && older(e.grant.GetToken(), token) {
				continue
			}
			token, ends = e.grant.GetToken(), e.sent.Add(time.Duration(e.grant.GetLeaseMs())*time.Millisecond)
			set(e.at, e.grant.GetCapacity())
		}
	}
	if amount > 0 {
		set(ends, 0)
	}
	return all
}

func older(a, b *capacitypb.Token) bool {
	return cmp.Or(cmp.Compare(a.GetGeneration(), b.GetGeneration()), cmp.Compare(a.GetN(), b.GetN())) < 0
}

// sweep goes through time and adds up what all clients use.
func sweep(all []use, capacity float64, report *LeaseReport) error {
	slices.SortStableFunc(all, func(a, b use) int { return a.at.Compare(b.at) })
	now := map[string]float64{}
	var sum, area float64
	var err error
	for i, u := range all {
		if i > 0 {
			area += sum * u.at.Sub(all[i-1].at).Seconds()
		}
		now[u.client] = u.amount
		sum = 0
		for _, amount := range now {
			sum += amount
		}
		report.Most = max(report.Most, sum/capacity)
		if sum > capacity*(1+slack) && err == nil {
			err = fmt.Errorf("%v of %v are in use at %v, when %s is told that it may use %v", sum, capacity, u.at, u.client, u.amount)
		}
	}
	if n := len(all); n > 1 {
		report.Mean = area / capacity / all[n-1].at.Sub(all[0].at).Seconds()
	}
	return err
}
