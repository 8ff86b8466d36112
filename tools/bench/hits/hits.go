// Package hits is what bench does with counters: callers that count over HTTP, as the talk
// "Clustering in Go" does, and in batches over gRPC, beside a handler of net/http that only
// counts in memory, which is what the talk's program is.
package hits

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"google.golang.org/grpc"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/tools/bench/measure"
)

// Region is where the counter is counted, Name what it is called.
const (
	Region = "ord"
	Name   = "counter/default"
)

const (
	// connections is how many callers the talk's program was measured with.
	connections = 32
	// batch is how many additions a call of AddBatch has.
	batch = 200
)

// Places are where a counter can be called.
type Places struct {
	// Leader is the HTTP address of the host that leads the group, Others are the others'.
	Leader string
	Others []string
	// AtLeader is a connection to the same host's gRPC port.
	AtLeader *grpc.ClientConn
}

// Caller calls. Close it.
type Caller struct{ web *http.Client }

// NewCaller makes one, with connections that are kept alive, one for each caller.
func NewCaller() *Caller {
	return &Caller{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}}
}

// Close ends its connections.
func (c *Caller) Close() { c.web.CloseIdleConnections() }

// Workload is what a run does, which r names; it completes r.
func (c *Caller) Workload(p Places, r *measure.Request) (measure.Workload, error) {
	r.Callers = connections
	switch r.Via {
	case Bare, AtLeader:
		return c.gets(p.Leader, "/inc?amount=1"), nil
	case AtOther:
		return c.gets(p.Others[0], "/inc?amount=1"), nil
	case Alone:
		r.Callers = 1
		return c.gets(p.Leader, "/inc?amount=1"), nil
	case Read:
		return c.gets(p.Leader, "/"), nil
	case Single, Batch:
		n := map[string]int{Single: 1, Batch: batch}[r.Via]
		r.Callers = connections * n
		return adds(p.AtLeader, n), nil
	}
	return measure.Workload{}, fmt.Errorf("no run %q of counters", r.Via)
}

// Counted counts what a workload does in all, warm-up included.
func Counted(w measure.Workload) (measure.Workload, *atomic.Int64) {
	call, n := w.Call, &atomic.Int64{}
	w.Call = func(ctx context.Context, caller int) error {
		err := call(ctx, caller)
		if err == nil {
			n.Add(int64(w.Weight))
		}
		return err
	}
	return w, n
}

// gets asks for a page.
func (c *Caller) gets(at, page string) measure.Workload {
	return measure.Workload{Weight: 1, Call: func(ctx context.Context, _ int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+page, nil)
		if err != nil {
			return err
		}
		resp, err := c.web.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusOK {
			err = errors.Join(err, fmt.Errorf("%s answered %s", at, resp.Status))
		}
		return errors.Join(err, resp.Body.Close())
	}}
}

// adds counts n times with each call.
func adds(conn *grpc.ClientConn, n int) measure.Workload {
	at := counterpb.NewCounterClient(conn)
	req := &counterpb.AddBatchRequest{Group: Name}
	for range n {
		req.Adds = append(req.Adds, &counterpb.Add{Amount: 1})
	}
	return measure.Workload{Weight: n, Call: func(ctx context.Context, _ int) error {
		resp, err := at.AddBatch(ctx, req)
		if err != nil {
			return err
		}
		for _, r := range resp.GetResults() {
			if r.GetOutcome() != counterpb.Outcome_OUTCOME_OK {
				return fmt.Errorf("not counted: %s", r.GetDetail())
			}
		}
		return nil
	}}
}
