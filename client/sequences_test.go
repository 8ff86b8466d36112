package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client/sequence"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// sequences answers like a group of app sequence, but for the first command: the host that
// gets it hangs, and tells how long it was given.
func sequences(given chan<- time.Duration, hosts ...*server) {
	came := func() (n int) {
		for _, h := range hosts {
			n += h.came("propose")
		}
		return n
	}
	for _, h := range hosts {
		h.propose = func(ctx context.Context, _ int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
			if came() == 1 {
				end, _ := ctx.Deadline()
				given <- time.Until(end)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			cmd, r := &sequencepb.Command{}, &sequencepb.Result{Outcome: sequencepb.Outcome_OUTCOME_OK}
			if err := proto.Unmarshal(req.GetCommand(), cmd); err != nil {
				return nil, err
			}
			if cmd.GetOpen() != nil {
				r.Client = &sequencepb.Client{Group: 1000, Number: 1, Nonce: cmd.GetOpen().GetNonce()}
			} else {
				r.Grant = &sequencepb.Grant{First: 7, Count: 1, Step: 1, Mode: sequencepb.Mode_MODE_DENSE, Incarnation: 1, Group: 1000}
			}
			data, err := proto.Marshal(r)
			return &hostpb.ProposeResponse{Data: data, Leader: led(h)}, err
		}
	}
}

// Commands of a sequence are applied once however often they are sent: a host that says
// nothing takes a part of a try only, over a stream and in a call of its own.
func TestAHostThatHangsHoldsNoSequenceUpForLong(t *testing.T) {
	t.Parallel()
	for name, alone := range map[string]bool{"stream": false, "call": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			a, b := c.add("nodehost"), c.add("nodehost")
			a.alone, b.alone = alone, alone
			given := make(chan time.Duration, 1)
			sequences(given, a, b)
			q := c.open(a.addr, b.addr).Sequence("sequence/x", sequence.Timeout(3*time.Second))
			n, err := q.Next(within(t, 30*time.Second))
			require.NoError(t, err)
			require.EqualValues(t, 7, n)
			require.LessOrEqual(t, <-given, time.Second, "a third of the time that a try has")
			require.NoError(t, q.Close())
		})
	}
}
