package capacity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// bubble runs a test in virtual time, with a client of a scripted server.
func bubble(t *testing.T, f *fakeWire, test func(t *testing.T, c *Client), opts ...ClientOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(f, append([]ClientOption{WithID("me")}, opts...)...)
		defer c.Close()
		test(t, c)
	})
}

func open(t *testing.T, c *Client, name string, opts ...Option) *Resource {
	t.Helper()
	r, err := c.Resource(name, opts...)
	require.NoError(t, err)
	return r
}

var errDown = status.Error(codes.Unavailable, "nobody is there")

func down(context.Context, string, []ask) ([]grant, error) { return nil, errDown }

func TestALeaseIsKept(t *testing.T) {
	f := serving(atMost(7))
	bubble(t, f, func(t *testing.T, c *Client) {
		r := open(t, c, "db", WithWants(10), WithPriority(4))
		require.NoError(t, r.Await(t.Context()))
		require.Equal(t, Leased, r.State().Basis)
		require.InDelta(t, 7.0, r.State().Capacity, 0)
		require.Equal(t, 10*time.Second-250*time.Millisecond, time.Until(r.State().Until), "2 % and 50 ms are kept back")
		require.Equal(t, State{Basis: Leased, Capacity: 7, Until: r.State().Until}, <-r.Changes())
		time.Sleep(time.Minute)
		require.InDelta(t, 7.0, r.State().Capacity, 0)
		n, last := f.sent()
		require.InDelta(t, 32, n, 3, "every two seconds, a little earlier")
		require.Len(t, last, 1)
		require.InDelta(t, 7.0, last[0].has.capacity, 0)
		require.Equal(t, last[0].has.token, last[0].token)
		require.Equal(t, int64(4), last[0].priority)
		select {
		case s := <-r.Changes():
			t.Fatalf("a lease of the same size is no change: %v", s)
		default:
		}
	})
	require.Equal(t, []string{"db"}, f.givenBack(), "Close gives all back")
}

func TestALeaseEndsWithoutAServer(t *testing.T) {
	two, none, all := 2.0, 0.0, -1.0
	tests := []struct {
		name     string
		said     *float64
		fallback []Option
		want     float64
	}{
		{"a number", &two, nil, 2},
		{"blocked", &none, nil, 0},
		{"no limit", &all, nil, math.Inf(1)},
		{"the server says nothing", nil, nil, 0},
		{"the application knows better", &two, []Option{WithFallback(-1)}, math.Inf(1)},
		{"the application is careful", &all, []Option{WithFallback(0.5)}, 0.5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := func(ctx context.Context, id string, asks []ask) ([]grant, error) {
				grants, err := generous(ctx, id, asks)
				grants[0].safe = tt.said
				return grants, err
			}
			f := serving(up)
			bubble(t, f, func(t *testing.T, c *Client) {
				r := open(t, c, "db", append(tt.fallback, WithWants(10))...)
				require.NoError(t, r.Await(t.Context()))
				f.become(down)
				until := r.State().Until
				<-r.Changes()
				s := <-r.Changes()
				require.Zero(t, time.Until(until).Round(time.Millisecond), "it ends when it ends")
				require.Equal(t, State{Basis: Safe, Capacity: tt.want}, s)
				require.ErrorIs(t, r.Err(), errDown)
				f.become(up)
				require.Equal(t, Leased, (<-r.Changes()).Basis, "and comes back with the server")
				require.NoError(t, r.Err())
			})
		})
	}
}

func TestBeforeTheFirstAnswer(t *testing.T) {
	// The answer takes time: the bubble's clock stands until this test waits, so none is there when the states are read.
	late := func(ctx context.Context, id string, asks []ask) ([]grant, error) {
		time.Sleep(time.Millisecond)
		return down(ctx, id, asks)
	}
	bubble(t, serving(late), func(t *testing.T, c *Client) {
		careful, bold := open(t, c, "careful"), open(t, c, "bold", WithFallback(-1))
		require.Equal(t, State{}, careful.State(), "nothing may be used before the first answer")
		require.Equal(t, State{}, bold.State(), "nor does the fallback count before it")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := careful.Await(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errDown, "Await says why")
		require.Equal(t, State{Basis: Safe}, careful.State())
		require.True(t, bold.State().Unlimited())
	})
}

func TestEitherClockEndsALease(t *testing.T) {
	for _, jump := range []time.Duration{9 * time.Second, time.Hour} {
		t.Run("the wall clock jumps "+jump.String(), func(t *testing.T) {
			w, f := &wallClock{}, serving(generous)
			bubble(t, f, func(t *testing.T, c *Client) {
				r := open(t, c, "db", WithWants(10))
				require.NoError(t, r.Await(t.Context()))
				f.become(down)
				time.Sleep(time.Second)
				w.jump(jump)
				require.Equal(t, Safe, r.State().Basis, "a reader sees it at once")
				require.Equal(t, Safe, (<-r.Changes()).Basis)
			}, withWall(w.now))
		})
	}
	t.Run("nobody looks", func(t *testing.T) {
		w, f := &wallClock{}, serving(generous)
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db", WithWants(10))
			require.NoError(t, r.Await(t.Context()))
			<-r.Changes()
			f.become(down)
			w.jump(time.Hour)
			begin := time.Now()
			require.Equal(t, Safe, (<-r.Changes()).Basis)
			require.LessOrEqual(t, time.Since(begin), clockWatch, "the loop looks at the clock each second")
		}, withWall(w.now))
	})
	t.Run("back", func(t *testing.T) {
		w, f := &wallClock{}, serving(generous)
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db", WithWants(10))
			require.NoError(t, r.Await(t.Context()))
			f.become(down)
			w.jump(-time.Hour)
			time.Sleep(10 * time.Second)
			require.Equal(t, Safe, r.State().Basis, "the monotonic clock ends it")
		}, withWall(w.now))
	})
}

func TestALeaseCountsFromBeforeTheRequest(t *testing.T) {
	f := serving(func(ctx context.Context, id string, asks []ask) ([]grant, error) {
		time.Sleep(4 * time.Second) // a slow network
		return generous(ctx, id, asks)
	})
	bubble(t, f, func(t *testing.T, c *Client) {
		begin := time.Now()
		r := open(t, c, "db", WithWants(10))
		require.NoError(t, r.Await(t.Context()))
		require.Equal(t, 9750*time.Millisecond, r.State().Until.Sub(begin))
	})
}

func TestWants(t *testing.T) {
	t.Run("lower ones limit before they are sent", func(t *testing.T) {
		f := serving(generous)
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db", WithWants(10))
			require.NoError(t, r.Await(t.Context()))
			used := make(chan float64, 1)
			f.become(func(ctx context.Context, id string, asks []ask) ([]grant, error) {
				used <- r.State().Capacity
				return generous(ctx, id, asks)
			})
			require.NoError(t, r.SetWants(4))
			require.InDelta(t, 4.0, r.State().Capacity, 0, "at once")
			require.NoError(t, r.SetWants(8))
			require.InDelta(t, 8.0, r.State().Capacity, 0, "nobody was told of the 4")
			require.NoError(t, r.SetWants(5))
			require.InDelta(t, 5.0, <-used, 0, "when the request left")
			require.InDelta(t, 5.0, r.Wants(), 0)
		})
	})
	t.Run("what was sent without an answer stays the limit", func(t *testing.T) {
		f := serving(generous)
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db", WithWants(10))
			require.NoError(t, r.Await(t.Context()))
			f.become(down)
			require.NoError(t, r.SetWants(3))
			time.Sleep(1100 * time.Millisecond)
			_, last := f.sent()
			require.InDelta(t, 3.0, last[0].wants, 0)
			require.NoError(t, r.SetWants(10))
			require.InDelta(t, 3.0, r.State().Capacity, 0, "the server may have read the 3")
			f.become(generous)
			time.Sleep(2 * time.Second)
			require.InDelta(t, 10.0, r.State().Capacity, 0)
		})
	})
	t.Run("higher ones are sent soon, together", func(t *testing.T) {
		f := serving(generous)
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db", WithWants(10))
			require.NoError(t, r.Await(t.Context()))
			for i := range 50 {
				require.NoError(t, r.SetWants(float64(11+i)))
				time.Sleep(10 * time.Millisecond)
			}
			n, _ := f.sent()
			require.Equal(t, 1, n)
			time.Sleep(time.Second)
			n, last := f.sent()
			require.Equal(t, 2, n)
			require.InDelta(t, 60.0, last[0].wants, 0)
			require.InDelta(t, 60.0, r.State().Capacity, 0)
		})
	})
	t.Run("no amount", func(t *testing.T) {
		bubble(t, serving(generous), func(t *testing.T, c *Client) {
			r := open(t, c, "db")
			for _, wants := range []float64{-1, math.NaN(), math.Inf(1), math.Inf(-1)} {
				require.ErrorIs(t, r.SetWants(wants), ErrInvalid)
				_, err := c.Resource("x", WithWants(wants))
				require.ErrorIs(t, err, ErrInvalid)
			}
			require.InDelta(t, 1.0, r.Wants(), 0)
		})
	})
}

func TestWhatAServerMaySay(t *testing.T) {
	tests := []struct {
		name string
		g    grant
		want State
	}{
		{"more than is wanted", grant{capacity: 50}, State{Basis: Leased, Capacity: 10}},
		{"a negative grant is nothing", grant{capacity: -30}, State{Basis: Leased}},
		{"no number is nothing", grant{capacity: math.NaN()}, State{Basis: Leased}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := serving(func(context.Context, string, []ask) ([]grant, error) {
				tt.g.length, tt.g.interval = 10*time.Second, 5*time.Second
				return []grant{tt.g}, nil
			})
			bubble(t, f, func(t *testing.T, c *Client) {
				r := open(t, c, "db", WithWants(10))
				require.NoError(t, r.Await(t.Context()))
				require.True(t, tt.want.same(r.State()), "%v", r.State())
			})
		})
	}
	t.Run("the interval of a lease that is as long", func(t *testing.T) {
		f := serving(func(context.Context, string, []ask) ([]grant, error) {
			return []grant{{capacity: 5, length: 10 * time.Second, interval: 10 * time.Second}}, nil
		})
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db", WithWants(10))
			require.NoError(t, r.Await(t.Context()))
			<-r.Changes()
			for range 100 {
				time.Sleep(time.Second)
				require.Equal(t, Leased, r.State().Basis, "it is asked for in time")
			}
		})
	})
	t.Run("somebody waits", func(t *testing.T) {
		f := serving(func(context.Context, string, []ask) ([]grant, error) {
			return []grant{{capacity: 5, length: 60 * time.Second, interval: 20 * time.Second, retry: 500 * time.Millisecond}}, nil
		})
		bubble(t, f, func(t *testing.T, c *Client) {
			open(t, c, "db")
			time.Sleep(10 * time.Second)
			n, _ := f.sent()
			require.InDelta(t, 21, n, 2)
		})
	})
	t.Run("an answer older than the lease", func(t *testing.T) {
		n := uint64(100)
		f := serving(func(context.Context, string, []ask) ([]grant, error) {
			n -= 10
			return []grant{{capacity: float64(n), token: token{1, n}, length: 10 * time.Second, interval: 2 * time.Second}}, nil
		})
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db", WithWants(1000))
			require.NoError(t, r.Await(t.Context()))
			time.Sleep(4 * time.Second)
			require.InDelta(t, 90.0, r.State().Capacity, 0)
			require.ErrorIs(t, r.Err(), errOld)
		})
	})
	t.Run("too few answers", func(t *testing.T) {
		f := serving(func(context.Context, string, []ask) ([]grant, error) { return nil, nil })
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db")
			time.Sleep(time.Second)
			require.ErrorContains(t, r.Err(), "0 answers to 1 resources")
		})
	})
}

func TestManyResourcesShareRequests(t *testing.T) {
	f := serving(generous)
	bubble(t, f, func(t *testing.T, c *Client) {
		var all []*Resource
		for i := range 100 {
			all = append(all, open(t, c, fmt.Sprintf("r%03d", i)))
			time.Sleep(10 * time.Millisecond)
		}
		for _, r := range all {
			require.NoError(t, r.Await(t.Context()))
		}
		time.Sleep(10 * time.Second) // they find together
		before, _ := f.sent()
		time.Sleep(20 * time.Second)
		after, last := f.sent()
		require.Len(t, last, 100)
		require.InDelta(t, 10, after-before, 2)
	})
	require.Len(t, f.givenBack(), 100)
}

// TestOneBadResource has one of many resources refused, which refuses the whole request.
func TestOneBadResource(t *testing.T) {
	f := serving(func(ctx context.Context, id string, asks []ask) ([]grant, error) {
		for _, q := range asks {
			if q.name == "r042" {
				return nil, status.Error(codes.NotFound, "no template matches")
			}
		}
		return generous(ctx, id, asks)
	})
	bubble(t, f, func(t *testing.T, c *Client) {
		var all []*Resource
		for i := range 100 {
			all = append(all, open(t, c, fmt.Sprintf("r%03d", i)))
		}
		begin := time.Now()
		for i, r := range all {
			if err := r.Await(t.Context()); i == 42 {
				require.Equal(t, codes.NotFound, status.Code(errors.Unwrap(err)))
			} else {
				require.NoError(t, err)
			}
		}
		require.Less(t, time.Since(begin), time.Second, "the others have not waited for it")
		time.Sleep(20 * time.Second)
		before, _ := f.sent()
		time.Sleep(20 * time.Second)
		after, _ := f.sent()
		require.Less(t, after-before, 25, "the others share requests again, the bad one is asked for more and more seldom")
		for i, r := range all {
			require.Equal(t, i != 42, r.State().Basis == Leased, i)
		}
	})
}

// TestOneHungResource has the requests that contain one resource hang.
func TestOneHungResource(t *testing.T) {
	f := serving(func(ctx context.Context, id string, asks []ask) ([]grant, error) {
		for _, q := range asks {
			if q.name == "r3" {
				<-ctx.Done()
				return nil, status.FromContextError(ctx.Err()).Err()
			}
		}
		grants, err := generous(ctx, id, asks)
		for i := range grants {
			grants[i].length, grants[i].interval = time.Minute, 10*time.Second
		}
		return grants, err
	})
	bubble(t, f, func(t *testing.T, c *Client) {
		var all []*Resource
		for i := range 8 {
			all = append(all, open(t, c, fmt.Sprintf("r%d", i)))
		}
		time.Sleep(30 * time.Second)
		for range 300 {
			time.Sleep(time.Second)
			for i, r := range all {
				require.Equal(t, i != 3, r.State().Basis == Leased, i)
			}
		}
	})
}

func TestARefusalIsAskedForSeldom(t *testing.T) {
	f := serving(func(context.Context, string, []ask) ([]grant, error) {
		return []grant{{err: status.Error(codes.NotFound, "no template matches")}}, nil
	})
	bubble(t, f, func(t *testing.T, c *Client) {
		r := open(t, c, "db")
		require.Equal(t, codes.NotFound, status.Code(errors.Unwrap(r.Await(t.Context()))))
		time.Sleep(time.Hour)
		n, _ := f.sent()
		require.InDelta(t, 80, n, 30, "between one and two a minute")
		f.become(generous)
		require.Eventually(t, func() bool { return r.State().Basis == Leased }, 2*time.Minute, time.Second, "it may come to exist")
	})
}

func TestAnOutageIsNotStormed(t *testing.T) {
	f := serving(generous)
	bubble(t, f, func(t *testing.T, c *Client) {
		r := open(t, c, "db")
		require.NoError(t, r.Await(t.Context()))
		f.become(down)
		before, _ := f.sent()
		time.Sleep(100 * time.Second)
		after, _ := f.sent()
		require.InDelta(t, 67, after-before, 25, "about as often as when all is well: every two seconds, pauses being half as long at times")
	})
}

func TestRelease(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		f := serving(generous)
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db")
			require.NoError(t, r.Await(t.Context()))
			<-r.Changes()
			r.Release()
			r.Release()
			require.Equal(t, State{Basis: Released}, r.State())
			require.Equal(t, State{Basis: Released}, <-r.Changes())
			_, more := <-r.Changes()
			require.False(t, more)
			require.ErrorIs(t, r.SetWants(3), ErrClosed)
			require.ErrorIs(t, r.Await(t.Context()), ErrClosed)
			synctest.Wait()
			require.Equal(t, []string{"db"}, f.givenBack())
			time.Sleep(time.Minute)
			n, _ := f.sent()
			require.Equal(t, 1, n)
		})
		require.Equal(t, []string{"db"}, f.givenBack(), "only once")
	})
	t.Run("after the request under way", func(t *testing.T) {
		f := serving(func(ctx context.Context, id string, asks []ask) ([]grant, error) {
			time.Sleep(3 * time.Second)
			return generous(ctx, id, asks)
		})
		bubble(t, f, func(t *testing.T, c *Client) {
			r := open(t, c, "db")
			synctest.Wait()
			r.Release()
			again := open(t, c, "db", WithWants(2))
			time.Sleep(2900 * time.Millisecond)
			require.Empty(t, f.givenBack(), "one request at a time")
			time.Sleep(200 * time.Millisecond)
			require.Equal(t, []string{"db"}, f.givenBack())
			require.NoError(t, again.Await(t.Context()))
			require.InDelta(t, 2.0, again.State().Capacity, 0)
		})
	})
	t.Run("never asked for", func(t *testing.T) {
		f := serving(generous)
		bubble(t, f, func(t *testing.T, c *Client) {
			c.mu.Lock()
			c.closed = true // the loop sends nothing
			c.mu.Unlock()
			_, err := c.Resource("db")
			require.ErrorIs(t, err, ErrClosed)
			c.mu.Lock()
			c.closed = false
			c.mu.Unlock()
		})
		require.Empty(t, f.givenBack())
	})
}

func TestNames(t *testing.T) {
	bubble(t, serving(generous), func(t *testing.T, c *Client) {
		require.Equal(t, "me", c.ID())
		r := open(t, c, "a/b#c")
		require.Equal(t, "a/b#c", r.Name())
		_, err := c.Resource("a/b#c")
		require.ErrorIs(t, err, ErrTaken)
		_, err = c.Resource("")
		require.ErrorIs(t, err, ErrInvalid)
		_, err = c.Resource(string(make([]byte, longestName+1)))
		require.ErrorIs(t, err, ErrInvalid)
		_, err = c.Resource("x", WithFallback(math.NaN()))
		require.ErrorIs(t, err, ErrInvalid)
	})
	first, second := ownName(), ownName()
	require.NotEqual(t, first, second, "two clients of a process are two")
}

func TestClose(t *testing.T) {
	f := serving(func(ctx context.Context, _ string, _ []ask) ([]grant, error) {
		<-ctx.Done() // a server that hangs
		return nil, ctx.Err()
	})
	synctest.Test(t, func(t *testing.T) {
		c := newClient(f)
		r := open(t, c, "db")
		synctest.Wait()
		begin := time.Now()
		c.Close()
		c.Close()
		require.Zero(t, time.Since(begin), "a request under way is given up")
		require.Equal(t, Released, r.State().Basis)
		_, err := c.Resource("db")
		require.ErrorIs(t, err, ErrClosed)
		require.Equal(t, []string{"db"}, f.givenBack(), "the server may have read the request")
	})
}
