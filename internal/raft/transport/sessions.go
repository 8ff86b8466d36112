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
	mu    sync.Mutex
	hosts map[ids.Host]*record // guarded by mu
}

// record is what is known of a host since the start.
type record struct {
	highest uint64 // boot epoch; guarded by sessions.mu
	live    *process
	heard   atomic.Int64 // Unix nanoseconds of the last frame
}

// process is one run of a host; it lives while it has connections.
type process struct {
	identity
	conns map[io.Closer]struct{} // guarded by sessions.mu
}

func newSessions() *sessions { return &sessions{hosts: make(map[ids.Host]*record)} }

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
// boot epoch that the address book has. A younger process replaces an older one,
// whose connections are closed. The returned function ends the connection's stay.
func (s *sessions) admit(peer identity, known uint64, conn io.Closer) (*record, func(), *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.recordOf(peer.host)
	r.highest = max(r.highest, known)
	if peer.epoch < r.highest {
		return nil, nil, refuse(refusedEpoch, "host %s shows boot epoch %d, but %d was seen: an old copy of its disk runs; "+
			"it must be wiped and start as a new host", peer.host, peer.epoch, r.highest)
	}
	p := r.live
	if p != nil && p.nonce != peer.nonce && len(p.conns) > 0 {
		if peer.epoch <= p.epoch {
			return nil, nil, refuse(refusedDuplicate, "host %s at %s shows boot epoch %d, and so does a process that is alive at %s: "+
				"two run with a copy of the same disk; stop one and wipe it", peer.host, peer.advertise, peer.epoch, p.advertise)
		}
		for c := range p.conns {
			_ = c.Close()
		}
	}
	if p == nil || p.nonce != peer.nonce {
		p = &process{identity: peer, conns: make(map[io.Closer]struct{})}
		r.live = p
	}
	r.highest = peer.epoch
	p.conns[conn] = struct{}{}
	r.hear()
	return r, func() { s.leave(p, conn) }, nil
}

func (s *sessions) leave(p *process, conn io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(p.conns, conn)
}

func (s *sessions) recordOf(h ids.Host) *record {
	r, ok := s.hosts[h]
	if !ok {
		r = &record{}
		s.hosts[h] = r
	}
	return r
}

func (r *record) hear() { r.heard.Store(time.Now().UnixNano()) }

// peers returns what is known of all hosts.
func (s *sessions) peers() map[ids.Host]PeerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[ids.Host]PeerStats, len(s.hosts))
	for h, r := range s.hosts {
		p := PeerStats{Epoch: r.highest}
		if ns := r.heard.Load(); ns != 0 {
			p.Heard = time.Unix(0, ns)
		}
		all[h] = p
	}
	return all
}
