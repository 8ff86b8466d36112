// Package lab runs one resource of app capacity in virtual time: the real machine,
// without hosts, network or clock.
package lab

import (
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

// epoch is the lease clock at virtual time 0: times before that are possible.
const epoch = int64(1 << 50)

// Never is the end of a lease that there is not.
const Never = time.Duration(-epoch)

// ErrNotReady is wrapped when a resource has to be told first what it holds of its
// parent.
var ErrNotReady = errors.New("not ready")

// Resource is a machine and the time it lives in.
type Resource struct {
	// Now is the virtual time; it only goes on.
	Now time.Duration
	// Lead numbers the leaderships.
	Lead uint64

	m        *capacity.Machine
	revision uint64
}

// New makes a resource without a definition, at virtual time 0.
func New() *Resource { return &Resource{m: capacity.New(), Lead: 1} }

// Configure sets the next definition; learning is the length of learning mode and
// matters for the first one only.
func (r *Resource) Configure(d *capacitypb.Definition, learning time.Duration) error {
	r.revision++
	_, err := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Configure{Configure: &capacitypb.Configure{
		Revision: r.revision, Definition: d, LearningMs: learning.Milliseconds(),
	}}})
	return err
}

// Parent tells what the resource holds of its parent, until which virtual time;
// Never when it holds nothing.
func (r *Resource) Parent(capacity float64, expires time.Duration, safeShare float64) error {
	_, err := r.apply(&capacitypb.Command{Op: &capacitypb.Command_ParentLease{ParentLease: &capacitypb.ParentLease{
		Capacity: capacity, Expires: epoch + int64(expires), Lead: r.Lead, SafeShare: safeShare,
	}}})
	return err
}

// Release gives a client's leases back.
func (r *Resource) Release(client string) error {
	_, err := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Release{
		Release: &capacitypb.Release{ClientIds: []string{client}},
	}})
	return err
}

// Ask decides one request. A grant that is not OK is no error.
func (r *Resource) Ask(q *capacitypb.Request) (*capacitypb.Grant, error) {
	out, err := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Decide{
		Decide: &capacitypb.Decide{Requests: []*capacitypb.Request{q}},
	}})
	if err != nil {
		return nil, err
	}
	return out.GetGrants()[0], nil
}

// Confirm tells that a client has an answer.
func (r *Resource) Confirm(client string, g *capacitypb.Grant) error {
	_, err := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Confirm{Confirm: &capacitypb.Confirm{
		Receipts: []*capacitypb.Receipt{{ClientId: client, Token: g.GetToken()}},
	}}})
	return err
}

// Summary describes the resource now.
func (r *Resource) Summary() (*capacitypb.Summary, error) {
	if _, err := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: &capacitypb.Decide{}}}); err != nil {
		return nil, err
	}
	query, err := proto.Marshal(&capacitypb.Query{Op: &capacitypb.Query_Describe{Describe: &capacitypb.Describe{}}})
	if err != nil {
		return nil, fmt.Errorf("write a query: %w", err)
	}
	data, err := r.m.Query(query)
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	a := &capacitypb.Answer{}
	if err := proto.Unmarshal(data, a); err != nil {
		return nil, fmt.Errorf("read an answer: %w", err)
	}
	return a.GetSummary(), nil
}

func (r *Resource) apply(c *capacitypb.Command) (*capacitypb.Result, error) {
	data, err := proto.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write a command: %w", err)
	}
	results := make([]statemachines.Result, 1)
	r.m.Apply([]statemachines.Command{{Index: 1, Time: epoch + int64(r.Now), Lead: r.Lead, Version: capacity.Version, Data: data}}, results)
	out := &capacitypb.Result{}
	if err := proto.Unmarshal(results[0].Data, out); err != nil {
		return nil, fmt.Errorf("read a result: %w", err)
	}
	switch out.GetOutcome() {
	case capacitypb.Outcome_OUTCOME_OK:
		return out, nil
	case capacitypb.Outcome_OUTCOME_NOT_READY:
		return nil, ErrNotReady
	default:
		return nil, fmt.Errorf("%v %s", out.GetOutcome(), out.GetDetail())
	}
}

// Seconds makes a length of time of a number of seconds.
func Seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
