package supervise

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
)

// A stream that came while this drummer takes the lead waits that long for it, and
// the last words to a host may take that long.
const (
	takeOverPatience = 3 * time.Second
	lastWords        = time.Second
)

// session is one host's stream. Only the loop's goroutine writes to out and closes it.
type session struct {
	id   uint64
	host string
	out  chan *drummerpb.SupervisorMessage
	done chan struct{} // closed with out, after err is set
	err  error         // what the stream ends with
	gone bool          // owned by the loop: out is closed
}

type stream = grpc.BidiStreamingServer[drummerpb.HostMessage, drummerpb.SupervisorMessage]

// Attend serves one host's stream. Three goroutines carry it, because reading,
// writing and the loop may each block on their own: one receives, one sends, and
// this one pumps what was received to the loop and ends the stream.
func (s *Supervisor) Attend(st stream) error {
	if !s.enter() {
		return errStopping()
	}
	defer s.wg.Done()
	in := make(chan *drummerpb.HostMessage)
	ended := make(chan struct{})
	defer close(ended)
	s.wg.Go(func() { receive(st, in, ended) })

	hello, err := s.hello(st.Context(), in)
	if err != nil {
		return err
	}
	if !s.waitLead(st.Context()) {
		return st.Send(redirectTo(s.o.Leader()))
	}
	c := &session{id: s.last.Add(1), host: hello.GetHost().GetName(), done: make(chan struct{}), out: make(chan *drummerpb.SupervisorMessage, s.o.Queue)}
	if err := s.post(st.Context(), func() { s.connect(c, hello) }); err != nil {
		return err
	}
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	written := make(chan struct{})
	s.wg.Go(func() {
		defer close(written)
		write(st, c.out, ended)
	})
	s.pump(st.Context(), c, in, written)
	return s.leave(c, written)
}

// receive hands messages on until the stream or the handler ends.
func receive(st stream, in chan<- *drummerpb.HostMessage, ended <-chan struct{}) {
	defer close(in)
	for {
		m, err := st.Recv()
		if err != nil {
			return
		}
		select {
		case in <- m:
		case <-ended:
			return
		}
	}
}

// write sends until out is closed, the stream breaks or the handler ends.
func write(st stream, out <-chan *drummerpb.SupervisorMessage, ended <-chan struct{}) {
	for {
		select {
		case m, ok := <-out:
			if !ok || st.Send(m) != nil {
				return
			}
		case <-ended:
			return
		}
	}
}

// hello waits for the first message, and for those that it is continued in, and checks
// them.
func (s *Supervisor) hello(ctx context.Context, in <-chan *drummerpb.HostMessage) (*drummerpb.Hello, error) {
	patience := time.NewTimer(s.o.HelloTimeout)
	defer patience.Stop()
	first, err := s.helloPart(ctx, in, patience.C)
	if err == nil {
		err = checkHello(first, s.o.Deployment)
	}
	for part := first; err == nil && part.GetMore(); {
		if part, err = s.helloPart(ctx, in, patience.C); err == nil {
			err = continueHello(first, part)
		}
	}
	return first, err
}

// helloPart waits for one message of a hello; nil when the host says something else.
func (s *Supervisor) helloPart(ctx context.Context, in <-chan *drummerpb.HostMessage, late <-chan time.Time) (*drummerpb.Hello, error) {
	select {
	case m, ok := <-in:
		if !ok {
			return nil, fault.New(fault.Unavailable, "the stream ended before its hello")
		}
		return m.GetHello(), nil
	case <-late:
		return nil, fault.New(fault.Unavailable, "no hello within %s", s.o.HelloTimeout)
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "the stream ended before its hello")
	case <-s.quit:
		return nil, errStopping()
	}
}

// waitLead tells whether this drummer supervises; while it is taking over, it waits.
func (s *Supervisor) waitLead(ctx context.Context) bool {
	patience := time.NewTimer(takeOverPatience)
	defer patience.Stop()
	for {
		now := s.stage.Load()
		if now.leading {
			return true
		}
		if _, leading := s.o.Record.Leading(); !leading {
			return false
		}
		s.Poke()
		select {
		case <-now.changed:
		case <-patience.C:
			return false
		case <-ctx.Done():
			return false
		case <-s.quit:
			return false
		}
	}
}

// pump carries what the host says to the loop, until either side ends the stream.
func (s *Supervisor) pump(ctx context.Context, c *session, in <-chan *drummerpb.HostMessage, written <-chan struct{}) {
	for {
		select {
		case m, ok := <-in:
			if !ok {
				s.tell(c, loop.Gone{Session: c.id})
				return
			}
			e, err := eventOf(c.id, m)
			if err != nil {
				s.reject(c, err)
				return
			}
			if s.post(ctx, func() { s.heard(c, e) }) != nil {
				s.tell(c, loop.Gone{Session: c.id})
				return
			}
		case <-written:
			s.tell(c, loop.Gone{Session: c.id})
			return
		case <-s.quit:
			return
		}
	}
}

// tell posts what the loop must know even when the stream's context has ended.
func (s *Supervisor) tell(c *session, e loop.Event) {
	_ = s.post(context.Background(), func() { s.heard(c, e) })
}

// reject ends the stream because of what the host sent.
func (s *Supervisor) reject(c *session, err error) {
	_ = s.post(context.Background(), func() {
		if !c.gone {
			s.o.Log.Warn("a host's stream is refused", "host", c.host, "err", err)
			s.end(c, nil, err)
			s.step(loop.Gone{Session: c.id})
		}
	})
}

// leave waits until the loop has closed the session and the last words are sent.
func (s *Supervisor) leave(c *session, written <-chan struct{}) error {
	select {
	case <-c.done:
	case <-s.quit:
	}
	patience := time.NewTimer(lastWords)
	defer patience.Stop()
	select {
	case <-written:
	case <-patience.C:
	}
	select {
	case <-c.done:
		return c.err
	default:
		return errStopping() // Run ended before it knew of this session
	}
}

// eventOf makes the loop's event of a message.
func eventOf(session uint64, m *drummerpb.HostMessage) (loop.Event, error) {
	switch b := m.GetBody().(type) {
	case *drummerpb.HostMessage_Report:
		return loop.Reported{Session: session, Report: b.Report}, checkReport(b.Report)
	case *drummerpb.HostMessage_Heartbeat:
		return loop.Beat{Session: session, Boot: b.Heartbeat.GetBoot(), Age: b.Heartbeat.GetAge()}, nil
	case *drummerpb.HostMessage_Result:
		return loop.Answered{Session: session, Result: b.Result}, nil
	case *drummerpb.HostMessage_Neighbours:
		return loop.Opined{Session: session, Unheard: b.Neighbours.GetUnheard()}, checkNeighbours(b.Neighbours)
	case *drummerpb.HostMessage_Goodbye:
		return loop.Gone{Session: session, Goodbye: true}, nil
	case *drummerpb.HostMessage_Hello:
		return nil, fault.New(fault.Invalid, "a second hello: open a new stream instead")
	}
	return nil, fault.New(fault.Invalid, "an empty message, or one of a newer version")
}

// connect admits a session to the loop.
func (s *Supervisor) connect(c *session, hello *drummerpb.Hello) {
	if !s.led {
		s.end(c, redirectTo(s.o.Leader()), nil)
		return
	}
	s.sessions[c.id] = c
	s.dirty = true
	s.step(loop.Connected{Session: c.id, Hello: hello})
}

// heard feeds what a live session said.
func (s *Supervisor) heard(c *session, e loop.Event) {
	if c.gone {
		return
	}
	if _, gone := e.(loop.Gone); gone {
		s.end(c, nil, nil)
	}
	if _, beat := e.(loop.Beat); !beat {
		s.dirty = true
	}
	s.step(e)
}

// send queues one message; a host that lets its queue fill up is disconnected.
func (s *Supervisor) send(f loop.Send) {
	c := s.sessions[f.Session]
	if c == nil {
		return
	}
	select {
	case c.out <- f.Message:
	default:
		s.o.Log.Warn("a host doesn't read its stream", "host", c.host, "waiting", len(c.out))
		s.end(c, nil, fault.New(fault.Busy, "%d messages wait for this host, which doesn't read them: connect again", len(c.out)))
		s.events = append(s.events, loop.Gone{Session: c.id})
	}
}

// disconnect ends a session that the Core no longer wants.
func (s *Supervisor) disconnect(d loop.Disconnect) {
	if c := s.sessions[d.Session]; c != nil {
		s.o.Log.Info("a host is disconnected", "host", c.host, "reason", d.Reason)
		s.end(c, nil, fault.New(meaning(d.Verdict), "%s", d.Reason))
	}
}

// meaning is how a host is told a verdict; nodehost/agent knows these reasons.
func meaning(v loop.Verdict) fault.Reason {
	switch v {
	case loop.Never:
		return fault.HostRefused
	case loop.NotNow:
		return fault.Conflict
	}
	return fault.Unavailable
}

// end closes a session's queue; the stream ends with err when it is empty.
func (s *Supervisor) end(c *session, last *drummerpb.SupervisorMessage, err error) {
	if c.gone {
		return
	}
	c.gone, c.err = true, err
	delete(s.sessions, c.id)
	if last != nil {
		select {
		case c.out <- last:
		default: // a full queue: the end of the stream says enough
		}
	}
	close(c.out)
	close(c.done)
}

func redirectTo(leader string) *drummerpb.SupervisorMessage {
	return &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Redirect{Redirect: &drummerpb.Redirect{Leader: leader}}}
}
