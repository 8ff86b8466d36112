//go:build e2e || e2elong

package e2e

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
)

// original behaves as Doorman's own Go client: one goroutine, which asks for all resources at
// once, follows redirects to a master, backs off without an end, and never notices that a
// lease has ended. Only the times of its pauses are shorter.
type original struct {
	id, first string // first is the address that it was given
	least     time.Duration
	asks      chan func(*originalState)
	stop      context.CancelFunc
	over      sync.WaitGroup

	mu       sync.Mutex
	redirect int                // guarded by mu: how often it was sent elsewhere
	served   map[string]float64 // guarded by mu: the newest capacity of each resource
	answers  int                // guarded by mu
}

// originalState belongs to the client's goroutine.
type originalState struct {
	conn  *grpc.ClientConn
	tries int
	wants map[string]float64
	has   map[string]*doormanpb.Lease
}

// backOff of the original: 1.3 times longer each time, a minute at most; here of 100 ms.
func backOff(n int) time.Duration {
	return min(time.Duration(100*math.Pow(1.3, float64(n)))*time.Millisecond, time.Minute)
}

func newOriginal(t *testing.T, id, address string) *original {
	ctx, stop := context.WithCancel(context.Background())
	o := &original{
		id: id, first: address, least: 200 * time.Millisecond, stop: stop, asks: make(chan func(*originalState)), served: map[string]float64{},
	}
	o.over.Go(func() { o.run(ctx) })
	t.Cleanup(o.close)
	return o
}

// ask is Resource and Ask: the client asks at once for all that it has.
func (o *original) ask(resource string, wants float64) {
	o.asks <- func(s *originalState) { s.wants[resource] = wants }
}

// capacity is what the client was granted last, for ever.
func (o *original) capacity(resource string) (v float64, answers, redirects int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.served[resource], o.answers, o.redirect
}

// close ends the client, which gives all back first: with an empty name for each resource
// besides, as the original does.
func (o *original) close() {
	o.stop()
	o.over.Wait()
}

func (o *original) run(ctx context.Context) {
	s := &originalState{wants: map[string]float64{}, has: map[string]*doormanpb.Lease{}}
	defer o.leave(s)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case change := <-o.asks:
			change(s)
		case <-timer.C:
		}
		timer.Reset(o.refresh(ctx, s))
	}
}

// refresh asks until somebody answers, and returns when to ask again.
func (o *original) refresh(ctx context.Context, s *originalState) time.Duration {
	for ctx.Err() == nil {
		resp, err := o.get(ctx, s)
		switch m := resp.GetMastership(); {
		case err == nil && m == nil:
			s.tries = 0
			return o.take(s, resp)
		case err == nil && m.GetMasterAddress() != "":
			o.mu.Lock()
			o.redirect++
			o.mu.Unlock()
			s.dial(m.GetMasterAddress())
			continue
		}
		s.hangUp() // the next try is at the first address
		s.tries++
		pause := time.NewTimer(backOff(s.tries))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	return time.Hour
}

// get sends one request for all resources.
func (o *original) get(ctx context.Context, s *originalState) (*doormanpb.GetCapacityResponse, error) {
	if s.conn == nil {
		s.dial(o.first)
	}
	req := &doormanpb.GetCapacityRequest{ClientId: &o.id}
	for name, wants := range s.wants {
		req.Resource = append(req.Resource, &doormanpb.ResourceRequest{ResourceId: &name, Priority: new(int64(0)), Wants: &wants, Has: s.has[name]})
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return doormanpb.NewCapacityClient(s.conn).GetCapacity(ctx, req)
}

func (o *original) take(s *originalState, resp *doormanpb.GetCapacityResponse) time.Duration {
	next := time.Hour
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers++
	for _, r := range resp.GetResponse() {
		s.has[r.GetResourceId()] = r.GetGets()
		o.served[r.GetResourceId()] = r.GetGets().GetCapacity()
		next = min(next, time.Duration(r.GetGets().GetRefreshInterval())*time.Second)
	}
	return max(next, o.least)
}

func (o *original) leave(s *originalState) {
	req := &doormanpb.ReleaseCapacityRequest{ClientId: &o.id}
	for name := range s.wants {
		req.ResourceId = append(req.ResourceId, name, "")
	}
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _ = doormanpb.NewCapacityClient(s.conn).ReleaseCapacity(ctx, req) // the original does not look at it
	}
	s.hangUp()
}

func (s *originalState) dial(address string) {
	s.hangUp()
	s.conn, _ = grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials())) // it dials when it is used
}

func (s *originalState) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	s.conn = nil
}

// doormen are two servers as Doorman's: one is the master, the other knows it. They have one
// resource, of which whoever asks gets what is free.
type doormen struct {
	doormanpb.UnimplementedCapacityServer
	master string // the other's address, of one that is not

	mu   sync.Mutex
	free float64            // guarded by mu
	held map[string]float64 // guarded by mu
	seen int                // guarded by mu: requests that were answered
}

// newDoormen starts both and returns the master, and the address of the other.
func newDoormen(t *testing.T, capacity float64) (*doormen, string) {
	serve := func(d *doormen) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		server := grpc.NewServer()
		doormanpb.RegisterCapacityServer(server, d)
		var running sync.WaitGroup
		running.Go(func() { _ = server.Serve(ln) }) // Stop ends it
		t.Cleanup(func() { server.Stop(); running.Wait() })
		return ln.Addr().String()
	}
	master := &doormen{free: capacity, held: map[string]float64{}}
	return master, serve(&doormen{master: serve(master)})
}

func (d *doormen) GetCapacity(_ context.Context, req *doormanpb.GetCapacityRequest) (*doormanpb.GetCapacityResponse, error) {
	if d.master != "" {
		return &doormanpb.GetCapacityResponse{Mastership: &doormanpb.Mastership{MasterAddress: &d.master}}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen++
	resp := &doormanpb.GetCapacityResponse{}
	for _, r := range req.GetResource() {
		d.free += d.held[req.GetClientId()]
		got := min(r.GetWants(), d.free)
		d.held[req.GetClientId()], d.free = got, d.free-got
		resp.Response = append(resp.Response, &doormanpb.ResourceResponse{ResourceId: new(r.GetResourceId()), Gets: &doormanpb.Lease{
			ExpiryTime: new(time.Now().Unix() + 4), RefreshInterval: new(int64(1)), Capacity: &got,
		}})
	}
	return resp, nil
}

func (d *doormen) ReleaseCapacity(_ context.Context, req *doormanpb.ReleaseCapacityRequest) (*doormanpb.ReleaseCapacityResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == nil {
		return nil, errors.New("the client was told who is the master")
	}
	d.free += d.held[req.GetClientId()]
	delete(d.held, req.GetClientId())
	return &doormanpb.ReleaseCapacityResponse{}, nil
}
