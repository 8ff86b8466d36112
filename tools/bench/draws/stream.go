package draws

import (
	"context"
	"fmt"
	"time"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/tools/bench/measure"
)

// asker is a client at the wire, with the request that it sends again and again.
type asker struct {
	caller  *sequencepb.Caller
	request *sequencepb.NextRequest
}

// openMany opens as many clients of a group as are under way.
func openMany(ctx context.Context, at sequencepb.SequenceClient, group string) ([]*asker, error) {
	var all []*asker
	for range outstanding {
		r, err := at.Open(ctx, &sequencepb.OpenRequest{Group: group})
		if err != nil {
			return nil, err
		}
		caller := &sequencepb.Caller{Client: r.GetClient()}
		request := &sequencepb.NextRequest{Group: group, Caller: caller, Next: &sequencepb.Next{Count: buffer}}
		all = append(all, &asker{caller: caller, request: request})
	}
	return all, nil
}

// want is the next request; the answers to all before are there, and it has been sent when
// the next one is asked for.
func (a *asker) want() *sequencepb.NextRequest {
	a.caller.Settled = a.caller.GetSerial()
	a.caller.Serial++
	return a.request
}

// overStream: ranges over one stream, with as many requests under way as in unary.
func overStream(ctx context.Context, f Fleet, r measure.Request) (s measure.Sample, err error) {
	conn, err := f.AtLeader(ctx, Dense)
	if err != nil {
		return s, err
	}
	at := sequencepb.NewSequenceClient(conn)
	askers, err := openMany(ctx, at, Dense)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, measure.Warmup+r.Time+patience)
	defer cancel()
	times := make([]time.Duration, 0, 1<<18)
	begin := time.Now().Add(measure.Warmup)
	end := begin.Add(r.Time)
	err = flow(ctx, at, func(i uint64) *sequencepb.NextRequest {
		if !time.Now().Before(end) {
			return nil
		}
		return askers[i].want()
	}, func(at time.Time, took time.Duration) {
		if at.After(begin) && at.Before(end) {
			times = append(times, took)
		}
	})
	s.PerSec = float64(len(times)) / r.Time.Seconds()
	s.Spread(times)
	return s, err
}

// flow keeps requests under way on a stream. want is the next one of each place, nil when
// there are no more; got hears of each answer.
func flow(ctx context.Context, at sequencepb.SequenceClient, want func(i uint64) *sequencepb.NextRequest, got func(at time.Time, took time.Duration)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := at.Stream(ctx)
	if err != nil {
		return err
	}
	sent, free := make([]time.Time, outstanding), make([]uint64, 0, outstanding)
	for i := range uint64(outstanding) {
		free = append(free, i)
	}
	for underWay := 0; ; {
		req, now := &sequencepb.StreamRequest{Wants: make([]*sequencepb.Want, 0, len(free))}, time.Now()
		for _, i := range free {
			if r := want(i); r != nil {
				sent[i] = now
				req.Wants = append(req.Wants, &sequencepb.Want{Id: i, Request: r})
			}
		}
		if underWay += len(req.GetWants()); underWay == 0 {
			return stream.CloseSend()
		}
		if len(req.GetWants()) > 0 {
			if err = stream.Send(req); err != nil {
				return err
			}
		}
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		now, free = time.Now(), free[:0]
		for _, g := range resp.GetGot() {
			if g.GetResult().GetOutcome() != sequencepb.Outcome_OUTCOME_OK {
				return fmt.Errorf("an answer without numbers: %v", g)
			}
			got(now, now.Sub(sent[g.GetId()]))
			free = append(free, g.GetId())
		}
		underWay -= len(free)
	}
}
