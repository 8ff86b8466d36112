package transport

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/drumline/drumline/internal/ids"
)

// sessions knows which process of every host is talked to now. There is one at a
// time: two of the same id have the same disk, once copied.
type sessions struct {
	began time.Time     // times are kept as distances from it: wall clocks jump
	bound time.Duration // a process not heard for so long may be replaced

	// news, of capacity 1: a connection began or ended, or none can be made.
	news chan struct{}

	mu    sync.Mutex
	hosts map[ids.Host]*record // guarded by mu
}

// record is what is known of a host since the start.
type record struct {
	highest uint64 // boot epoch; guarded by sessions.mu
	live    *process
	refused bool // nobody listened at its address; since the last connection
}

// process is one run of a host.
type process struct {
	identity
	began time.Time
	heard atomic.Int64           // when something of it came in last, in ns since began
	conns map[io.Closer]struct{} // in both directions; guarded by sessions.mu
}

// newSessions makes the book of a host whose peers ping every keepAlive.
func newSessions(keepAlive time.Duration) *sessions {
	return &sessions{began: time.Now(), bound: 2 * keepAlive, hosts: make(map[ids.Host]*record), news: make(chan struct{}, 1)}
}

// refusal is why a host is not talked to.
type refusal struct {
	reason string // for counting
	text   string // for people
}

// Reasons of refusals. Do not rename: they are on the wire and in metrics.
const (
	refusedGarbage    = "garbage"    // no handshake of this protocol
	refusedVersion    = "version"    // another protocol version
	refusedDeployment = "deployment" // another deployment
	refusedHost       = "host"       // it wants another host: this address was somebody else's
	refusedSelf       = "self"       // it has this host's own id
	refusedEpoch      = "epoch"      // an older run than one already seen
	refusedDuplicate  = "duplicate"  // another process with the same id is alive
	refusedFull       = "full"       // too many connections
)

// Error is the text.
func (r *refusal) Error() string { return "refused: " + r.text }

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason: reason, text: fmt.Sprintf(format, args...)}
}

// admit lets a connection of a peer stand, or says why not. known is the highest
// boot epoch that the address book has. While a process of a host is alive, no other
// process of it comes in, whatever its epoch: a copy of a running host's disk counts
// its starts from where the original was, so its epoch is the higher one. A process
// that is not alive is replaced and its connections are closed. The returned function
// ends the connection's stay.
func (s *sessions) admit(peer identity, known uint64, conn io.Closer) (*process, func(), *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.recordOf(peer.host)
	p := r.live
	alive := p != nil && s.alive(p)
	if alive && p.nonce != peer.nonce {
		return nil, nil, refuse(refusedDuplicate, "host id %s is connected from %s already: a copy of its data directory runs at %s; stop one of them "+
			"(if it is no copy but the host after a crash of its machine: it is let in within %s)", peer.host, p.advertise, peer.advertise, s.bound)
	}
	// More connections of the process that is alive are welcome even when news of a
	// higher epoch came from elsewhere.
	if seen := max(r.highest, known); !alive && peer.epoch < seen {
		return nil, nil, refuse(refusedEpoch, "host %s shows boot epoch %d, but %d was seen: an old copy of its disk runs; "+
			"it must be wiped and start as a new host", peer.host, peer.epoch, seen)
	}
	if p == nil || p.nonce != peer.nonce {
		r.replace(&process{identity: peer, began: s.began, conns: make(map[io.Closer]struct{})})
		p = r.live
	}
	r.highest = max(r.highest, peer.epoch)
	r.refused = false
	p.conns[conn] = struct{}{}
	p.hear()
	signal(s.news)
	return p, func() { s.leave(p, conn) }, nil
}

// alive tells whether a process has an open connection and was heard lately. One that
// ended has none: its kernel closes them. One whose machine went down, or was cut off,
// is silent. The caller has mu.
func (s *sessions) alive(p *process) bool {
	return len(p.conns) > 0 && time.Since(s.began)-time.Duration(p.heard.Load()) < s.bound
}

// replace ends what is left of the process before. The caller has sessions.mu.
func (r *record) replace(p *process) {
	if r.live != nil {
		for c := range r.live.conns {
			_ = c.Close()
		}
	}
	r.live = p
}

func (s *sessions) leave(p *process, conn io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(p.conns, conn)
	signal(s.news)
}

func (s *sessions) recordOf(h ids.Host) *record {
	r, ok := s.hosts[h]
	if !ok {
		r = &record{}
		s.hosts[h] = r
	}
	return r
}

func (p *process) hear() { p.heard.Store(int64(time.Since(p.began))) }

// listen notes whatever comes out of r as heard of the process.
func (p *process) listen(r io.Reader) io.Reader { return &hearing{r: r, of: p} }

type hearing struct {
	r  io.Reader
	of *process
}

// Read reads.
func (l *hearing) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if n > 0 {
		l.of.hear()
	}
	return n, err
}

// peers returns what is known of all hosts.
func (s *sessions) peers() map[ids.Host]PeerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[ids.Host]PeerStats, len(s.hosts))
	for h, r := range s.hosts {
		p := PeerStats{Epoch: r.highest}
		if r.live != nil {
			p.Heard = r.live.lastHeard()
		}
		all[h] = p
	}
	return all
}
