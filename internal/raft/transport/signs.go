package transport

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
)

// Signs are what is known of a host's life.
type Signs struct {
	// Process tells one run of the host from another; 0: none was met yet.
	Process uint64
	// Heard is when something of it came in last.
	Heard time.Time
	// Connections stand between the hosts now, in both directions.
	Connections int
	// Refused: since the last connection it was found that nobody listens at its address.
	Refused bool
}

// Signs returns a host's.
func (t *Transport) Signs(h ids.Host) Signs {
	s := t.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.hosts[h]
	if !ok || r.live == nil {
		return Signs{}
	}
	return Signs{Process: r.live.nonce, Heard: r.live.lastHeard(), Connections: len(r.live.conns), Refused: r.refused}
}

// Heartbeat has hosts that are attended hear of each other at that interval, once
// for both: whoever just heard the other keeps still. It must be called before Ready.
// The channel, of capacity 1, tells that somebody's signs changed; silence it can't tell.
func (t *Transport) Heartbeat(every time.Duration) <-chan struct{} {
	t.beat = min(every, t.o.KeepAlive)
	return t.sessions.news
}

// Attend keeps a connection to these hosts, and to no others unless Raft uses them.
func (t *Transport) Attend(hosts []ids.Host) {
	t.attending.Lock()
	defer t.attending.Unlock()
	for h, p := range t.attended {
		if !slices.Contains(hosts, h) {
			delete(t.attended, h)
			p.release()
		}
	}
	for _, h := range hosts {
		if t.attended[h] != nil || h == t.self.host {
			continue
		}
		p, err := t.use(h)
		if err != nil {
			return // closed
		}
		t.attended[h] = p
	}
}

// Tell sends messages to a host that is attended, as lossy as all messages are.
func (t *Transport) Tell(to ids.Host, messages []pb.Message) {
	t.attending.Lock()
	p := t.attended[to]
	t.attending.Unlock()
	h := t.handlers.Load()
	if p == nil || h == nil {
		return
	}
	c := connection{ctx: t.ctx, peer: p}
	_ = c.SendMessageBatch(pb.MessageBatch{
		Requests: messages, DeploymentId: h.deployment, SourceAddress: string(t.self.host), BinVer: raftio.TransportBinVersion,
	}) // never fails
}

// refused notes that nobody listens where a host was.
func (s *sessions) refused(h ids.Host, err error) {
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return
	}
	s.mu.Lock()
	s.recordOf(h).refused = true
	s.mu.Unlock()
	signal(s.news)
}

// lastHeard is when something came in of a process.
func (p *process) lastHeard() time.Time { return p.began.Add(time.Duration(p.heard.Load())) }
