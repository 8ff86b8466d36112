package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/replicas"
)

// Bounds of the heartbeat's period, whatever a welcome says.
const (
	defaultHeartbeat = time.Second
	leastHeartbeat   = 5 * time.Millisecond
	mostHeartbeat    = 10 * time.Second
	// silentBeats is for how many heartbeats a drummer may be silent.
	silentBeats = 3
	// partSize is the number of replicas in one Report: a heartbeat never waits
	// behind more.
	partSize = 256
	// helloPart is the number of replicas in one message of a hello; before the welcome
	// nothing waits behind it.
	helloPart = 1024
	// bootSettle is how long a change waits for others while the host starts its replicas:
	// thousands change then, and Drummer gives it nothing new meanwhile.
	bootSettle = 250 * time.Millisecond
)

var (
	errLeft   = errors.New("the host has said goodbye")
	errSilent = errors.New("nothing was heard of the drummer")
	errSlow   = errors.New("no welcome in time")
)

// end is how an attempt ended.
type end struct {
	welcomed, refused bool
	// redirect is the address of the drummer that leads, "" for unknown.
	redirect *string
	err      error
}

// session is one stream.
type session struct {
	a      *Agent
	conn   *grpc.ClientConn
	stream drummerpb.Supervisor_AttendClient
	// hangUp cancels the stream's context.
	hangUp context.CancelCauseFunc
	ledger ledger // of the reporting goroutine, after the hello
	beat   time.Duration
	heard  atomic.Int64 // unix nanoseconds
	// dirt has room for one: something may have changed.
	dirt chan struct{}

	mu     sync.Mutex
	outbox []*drummerpb.HostMessage
	// mail has room for one: the outbox is not empty.
	mail chan struct{}
}

func (s *session) lastHeard() time.Time {
	if n := s.heard.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

func (s *session) hear() { s.heard.Store(time.Now().UnixNano()) }

func (s *session) poke() { signal(s.dirt) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// post queues a message behind those that wait; it does not block.
func (s *session) post(m *drummerpb.HostMessage) {
	s.mu.Lock()
	s.outbox = append(s.outbox, m)
	s.mu.Unlock()
	signal(s.mail)
}

func (s *session) next() *drummerpb.HostMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.outbox) == 0 {
		return nil
	}
	m := s.outbox[0]
	s.outbox = s.outbox[1:]
	return m
}

// attend opens a stream to one drummer and stays until it ends.
func (a *Agent) attend(ctx context.Context, addr string) end {
	dial, stop := context.WithTimeout(ctx, a.o.Connect)
	conn, err := a.o.Pool.Dial(dial, addr)
	stop()
	if err != nil {
		a.forget(addr) // lest a connection that hangs is waited for again
		return end{err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // ends the stream
	s := &session{a: a, conn: conn, hangUp: cancel, dirt: make(chan struct{}, 1), mail: make(chan struct{}, 1)}
	a.opened(s)
	defer a.closed(s)

	late := time.AfterFunc(a.o.Handshake, func() { cancel(errSlow) })
	defer late.Stop()
	welcome, redirect, err := s.shakeHands(ctx)
	if err != nil {
		reason := serve.ReadFault(err)
		return end{refused: ctx.Err() == nil && refuses(reason), err: reason}
	}
	if redirect != nil {
		return end{redirect: redirect}
	}
	if !late.Stop() {
		return end{err: errSlow}
	}
	if err := a.dir.attend(welcome.GetFleet(), welcome.GetIncarnation()); err != nil {
		return end{err: err}
	}
	s.welcome(addr, welcome)
	err = s.run(ctx)
	if errors.Is(err, errSilent) {
		a.forget(addr)
	}
	a.o.Log.Info("drummer left", "drummer", addr, "reason", err)
	return end{welcomed: true, redirect: redirectIn(err), err: err}
}

func (a *Agent) forget(addr string) {
	if err := a.o.Pool.Forget(addr); err != nil {
		a.o.Log.Debug("connection does not close", "drummer", addr, "err", err)
	}
}

// shakeHands says hello and waits for the welcome.
func (s *session) shakeHands(ctx context.Context) (*drummerpb.Welcome, *string, error) {
	stream, err := drummerpb.NewSupervisorClient(s.conn).Attend(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("attend: %w", err)
	}
	s.stream = stream
	if err := s.sayHello(); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("hello: %w", err)
	}
	m, err := stream.Recv() // after EOF of Send, Recv has the reason
	if err != nil {
		return nil, nil, fmt.Errorf("hello: %w", err)
	}
	s.hear()
	if r := m.GetRedirect(); r != nil {
		leader := r.GetLeader()
		return nil, &leader, nil
	}
	if w := m.GetWelcome(); w != nil {
		return w, nil, nil
	}
	return nil, nil, errors.New("hello: the drummer did not answer with a welcome")
}

// sayHello sends the hello, in parts: a host may have more replicas than a message holds.
func (s *session) sayHello() error {
	h := s.hello()
	rest := h.GetReplicas()
	for {
		n := min(helloPart, len(rest))
		h.Replicas, rest = rest[:n], rest[n:]
		h.More = len(rest) > 0
		if err := s.stream.Send(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Hello{Hello: h}}); err != nil || !h.GetMore() {
			return err
		}
		h = &drummerpb.Hello{}
	}
}

func (s *session) hello() *drummerpb.Hello {
	h := &drummerpb.Hello{Deployment: s.a.o.Deployment, Host: s.a.Self(), Version: s.a.o.Version, Fleet: s.a.dir.attended(), Boot: s.a.boot()}
	for _, k := range s.a.o.Replicas.Keys() {
		if r, ok := s.a.o.Replicas.Report(k); ok {
			h.Replicas = append(h.Replicas, r)
		}
	}
	s.ledger.open(h.GetReplicas())
	return h
}

func (s *session) welcome(addr string, w *drummerpb.Welcome) {
	s.beat = time.Duration(w.GetHeartbeatMs()) * time.Millisecond
	if s.beat <= 0 {
		s.beat = defaultHeartbeat
	}
	s.beat = min(max(s.beat, leastHeartbeat), mostHeartbeat)
	a := s.a
	a.o.Replicas.Welcomed(replicas.Fence{Incarnation: w.GetIncarnation(), Term: w.GetTerm()}, ids.Groups(w.GetBanned()))
	a.mu.Lock()
	a.stats.Drummer, a.stats.Incarnation, a.stats.Term = addr, w.GetIncarnation(), w.GetTerm()
	a.stats.Sessions++
	a.refusedLast = time.Time{}
	a.mu.Unlock()
	a.o.Log.Info("attending on drummer", "drummer", addr, "incarnation", w.GetIncarnation(), "term", w.GetTerm())
	a.welcomeOnce.Do(func() { close(a.welcomed) })
}

// run is the session after the welcome. Its goroutines end together.
func (s *session) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	streamDone := make(chan struct{})
	g.Go(func() error {
		defer close(streamDone)
		return s.receive()
	})
	g.Go(func() error { return s.send(ctx, streamDone) })
	g.Go(func() error { return s.report(ctx) })
	g.Go(func() error { return s.listen(ctx) })
	g.Go(func() error { return s.opine(ctx) })
	g.Go(func() error { // whoever ends first ends the stream, and Recv with it
		select {
		case <-ctx.Done():
			s.hangUp(nil) // ends Recv
		case <-streamDone:
		}
		return nil
	})
	return g.Wait()
}

// redirection is the error of a stream that ended with a redirect.
type redirection struct{ leader string }

func (r *redirection) Error() string { return fmt.Sprintf("another drummer leads: %q", r.leader) }

func redirectIn(err error) *string {
	var r *redirection
	if errors.As(err, &r) {
		return &r.leader
	}
	return nil
}

// receive takes in what the supervisor says. Orders are handed over and never
// waited for.
func (s *session) receive() error {
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return fmt.Errorf("stream: %w", err)
		}
		s.hear()
		switch b := m.GetBody().(type) {
		case *drummerpb.SupervisorMessage_Order:
			s.a.o.Replicas.Order(b.Order, func(r *drummerpb.OrderResult) {
				s.post(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Result{Result: r}})
			})
		case *drummerpb.SupervisorMessage_Addresses:
			s.learn(b.Addresses)
		case *drummerpb.SupervisorMessage_Configurations:
			s.configured(b.Configurations)
		case *drummerpb.SupervisorMessage_Redirect:
			return &redirection{b.Redirect.GetLeader()}
		}
	}
}

// learn keeps addresses. A disk that refuses them is not worth the session.
func (s *session) learn(m *drummerpb.Addresses) {
	err := s.a.dir.learn(m)
	for _, h := range m.GetHosts() {
		if h.GetRaft() != "" && h.GetId() != s.a.o.Self.GetId() {
			err = errors.Join(err, s.a.o.Book.Learn(ids.Host(h.GetId()), h.GetRaft(), h.GetBootEpoch()))
		}
	}
	if err != nil {
		s.a.o.Log.Warn("addresses are not kept", "err", err)
	}
}

// configured passes configurations on.
func (s *session) configured(m *drummerpb.Configurations) {
	if s.a.o.Configured == nil {
		return
	}
	if err := s.a.o.Configured(m.GetConfigurations()); err != nil {
		s.a.o.Log.Warn("configurations are followed, but not kept on disk", "err", err)
	}
}

// send owns the sending side: heartbeats on their own ticker, and the outbox.
func (s *session) send(ctx context.Context, streamDone <-chan struct{}) error {
	beats := time.NewTicker(s.beat)
	defer beats.Stop()
	booted := s.a.o.Booted
	var sequence uint64
	heartbeat := func() error {
		sequence++
		beat := &drummerpb.Heartbeat{Sequence: sequence, Boot: s.a.boot(), Age: s.a.age()}
		return s.stream.Send(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Heartbeat{Heartbeat: beat}})
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.a.leaving:
			return s.sayGoodbye(ctx, streamDone)
		case <-booted: // Drummer waits for it with new replicas
			booted = nil
			if err := heartbeat(); err != nil {
				return streamEnd(ctx, streamDone, err)
			}
		case <-beats.C:
			if err := heartbeat(); err != nil {
				return streamEnd(ctx, streamDone, err)
			}
		case <-s.mail:
			m := s.next()
			if m == nil {
				continue
			}
			signal(s.mail) // more may wait; the heartbeat has its turn in between
			if err := s.stream.Send(m); err != nil {
				return streamEnd(ctx, streamDone, err)
			}
		}
	}
}

// streamEnd lets the receiver have the say: EOF of Send means that Recv has the
// reason, which may be a redirect.
func streamEnd(ctx context.Context, streamDone <-chan struct{}, err error) error {
	if errors.Is(err, io.EOF) {
		select {
		case <-streamDone:
			return nil
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("send: %w", err)
}

// age is that of the host's data directory; 0 when nobody tells.
func (a *Agent) age() uint64 {
	if a.o.Age == nil {
		return 0
	}
	return a.o.Age()
}

// boot is how far the host's boot is; nil once it is done, or when there is none.
func (a *Agent) boot() *drummerpb.Boot {
	if a.o.Booting == nil {
		return nil
	}
	done, total, booting := a.o.Booting()
	if !booting || total == 0 {
		return nil
	}
	return &drummerpb.Boot{Done: uint32(done), Total: uint32(total)} //nolint:gosec // counts of replicas
}

// sayGoodbye sends what waits and the goodbye, and gives the drummer a moment to
// close its side, so that the message is not lost with the connection.
func (s *session) sayGoodbye(ctx context.Context, streamDone <-chan struct{}) error {
	for m := s.next(); m != nil; m = s.next() {
		if err := s.stream.Send(m); err != nil {
			return errLeft
		}
	}
	if err := s.stream.Send(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Goodbye{Goodbye: &drummerpb.Goodbye{}}}); err != nil {
		return errLeft
	}
	_ = s.stream.CloseSend() // always nil
	t := time.NewTimer(s.beat)
	defer t.Stop()
	select {
	case <-t.C:
	case <-streamDone:
	case <-ctx.Done():
	}
	return errLeft
}

// report sends what changed, a moment after it was told of, and compares all of it
// now and then, lest a change that nobody told of stays unknown.
func (s *session) report(ctx context.Context) error {
	compare := time.NewTicker(s.a.o.Compare)
	defer compare.Stop()
	settle := time.NewTimer(s.a.o.Settle)
	defer settle.Stop()
	waiting := true
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-compare.C:
			s.postReports(s.compareAll())
		case <-s.dirt:
			if !waiting {
				waiting = true
				settle.Reset(s.settle())
			}
		case <-settle.C:
			waiting = false
			s.postReports(s.compareDirty())
		}
	}
}

// settle is how long a change waits for others.
func (s *session) settle() time.Duration {
	if s.a.boot() != nil {
		return max(bootSettle, s.a.o.Settle)
	}
	return s.a.o.Settle
}

func (s *session) compareDirty() *drummerpb.Report {
	var out drummerpb.Report
	for k, gone := range s.a.takeDirty() {
		r, here := s.a.o.Replicas.Report(k)
		switch {
		case here && s.ledger.news(r, false):
			out.Changed = append(out.Changed, r)
		case !here && gone:
			s.ledger.gone(k)
			out.Gone = append(out.Gone, refOf(k))
		}
	}
	return &out
}

func (s *session) compareAll() *drummerpb.Report {
	var out drummerpb.Report
	keys := s.a.o.Replicas.Keys()
	for _, k := range s.ledger.missing(keys) {
		out.Gone = append(out.Gone, refOf(k))
	}
	for _, k := range keys {
		if r, here := s.a.o.Replicas.Report(k); here && s.ledger.news(r, true) {
			out.Changed = append(out.Changed, r)
		}
	}
	return &out
}

// postReports sends a report in parts.
func (s *session) postReports(r *drummerpb.Report) {
	for len(r.Changed) > 0 || len(r.Gone) > 0 {
		n, m := min(partSize, len(r.Changed)), min(partSize, len(r.Gone))
		part := &drummerpb.Report{Changed: r.Changed[:n], Gone: r.Gone[:m]}
		r.Changed, r.Gone = r.Changed[n:], r.Gone[m:]
		s.post(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Report{Report: part}})
	}
}

// listen ends the session when the drummer gives no sign of life: a paused process
// keeps its connections, and the supervisor has nothing to say while all is well.
func (s *session) listen(ctx context.Context) error {
	tick := time.NewTicker(s.beat)
	defer tick.Stop()
	health := healthpb.NewHealthClient(s.conn)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		silent := time.Since(s.lastHeard())
		if silent < s.beat {
			continue
		}
		if silent > max(silentBeats*s.beat, s.a.o.Silence) {
			return errSilent
		}
		call, cancel := context.WithTimeout(ctx, max(s.beat, s.a.o.Silence/silentBeats))
		_, err := health.Check(call, &healthpb.HealthCheckRequest{})
		cancel()
		if answered(err) {
			s.hear()
		}
	}
}

// answered tells whether a call reached the other side: any answer is a sign of
// life, also a refusal.
func answered(err error) bool {
	switch status.Code(err) { //nolint:exhaustive // all others come from the server
	case codes.DeadlineExceeded, codes.Canceled, codes.Unavailable:
		return false
	}
	return true
}
