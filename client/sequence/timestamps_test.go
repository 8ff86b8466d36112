package sequence_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client/sequence"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// oracle hands out timestamps as a leading host does, at most a few for a request.
type oracle struct {
	mu          sync.Mutex
	next        int64
	most        uint64
	incarnation uint64
	requests    int
	err         error
	slow        time.Duration
}

func (o *oracle) Propose(ctx context.Context, cmd []byte) ([]byte, bool, error) {
	select {
	case <-time.After(o.slow):
	case <-ctx.Done():
		return nil, true, ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests++
	if o.err != nil {
		return nil, true, o.err
	}
	c := &sequencepb.Command{}
	if err := proto.Unmarshal(cmd, c); err != nil {
		return nil, false, err
	}
	r := &sequencepb.Result{Outcome: sequencepb.Outcome_OUTCOME_OK}
	if was := c.GetNext().GetIncarnation(); was != 0 && was != o.incarnation {
		r.Outcome = sequencepb.Outcome_OUTCOME_INCARNATION
	} else {
		o.next = max(o.next, time.Now().UnixMilli()<<18)
		r.Grant = &sequencepb.Grant{
			First: o.next, Count: min(c.GetNext().GetCount(), o.most), Step: 1, Mode: sequencepb.Mode_MODE_TSO, Incarnation: o.incarnation, LogicalBits: 18,
		}
		o.next += int64(r.GetGrant().GetCount())
	}
	data, err := proto.Marshal(r)
	return data, false, err
}

func TestTimestampsAscendAndShareRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{most: 40, incarnation: 7, slow: 2 * time.Millisecond}
		s := sequence.NewTimestamps(o, "sequence/test", "")
		var mu sync.Mutex
		seen := map[int64]bool{}
		var work sync.WaitGroup
		for range 100 {
			work.Go(func() {
				last := int64(0)
				for range 20 {
					asked := time.Now()
					ts, err := s.Next(t.Context())
					require.NoError(t, err)
					require.Greater(t, ts.Number, last)
					require.False(t, ts.Time().Before(asked.Truncate(time.Millisecond)), "it was taken ahead")
					last = ts.Number
					mu.Lock()
					require.False(t, seen[ts.Number])
					seen[ts.Number] = true
					mu.Unlock()
				}
			})
		}
		work.Wait()
		require.Less(t, o.requests, 200, "2,000 timestamps")
		ts, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, ts.Number, ts.Time().UnixMilli()<<18|ts.Logical())
		require.Regexp(t, `^\d+\.\d+$`, ts.String())
		require.NoError(t, s.Close())
	})
}

func TestTimestampsInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{most: 1000, incarnation: 7}
		s := sequence.NewTimestamps(o, "sequence/test", "")
		_, err := s.Next(t.Context())
		require.NoError(t, err)
		o.err = errAway
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = s.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "no quorum")
		synctest.Wait()
		before := o.requests
		time.Sleep(time.Minute)
		require.Equal(t, before, o.requests, "nobody waits")
		o.err = nil
		o.incarnation = 8
		_, err = s.Next(t.Context())
		require.ErrorIs(t, err, sequence.ErrDifferent)
		_, err = s.Next(t.Context())
		require.ErrorIs(t, err, sequence.ErrDifferent, "it stays")
		require.NoError(t, s.Close())

		o.slow = time.Hour
		s = sequence.NewTimestamps(o, "sequence/test", "")
		ended := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := s.Next(t.Context())
				ended <- err
			}()
		}
		synctest.Wait()
		require.NoError(t, s.Close())
		for range 3 {
			require.ErrorIs(t, <-ended, sequence.ErrClosed)
		}
		_, err = s.Next(t.Context())
		require.ErrorIs(t, err, sequence.ErrClosed)
	})
}
