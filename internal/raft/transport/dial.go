package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
)

const (
	// dialTimeout bounds one attempt to connect. It is short: the peer may have moved
	// on to another address meanwhile.
	dialTimeout = 3 * time.Second
	// announcing bounds the announcements going on at once.
	announcing = 8
)

var (
	errNoAddress = errors.New("its address is not known yet")
	errCut       = errors.New("cut by the test's hook")
)

// link is an established connection to a peer.
type link struct {
	net.Conn
	raw   net.Conn
	peer  *process
	leave func()
	t     *Transport
	once  sync.Once
}

// Close ends the connection and its stay in the books.
func (l *link) Close() error {
	l.once.Do(func() {
		l.leave()
		l.t.counters.outbound.Add(-1)
		l.t.untrack(l.raw)
	})
	return nil
}

// dial connects to a host wherever it is now.
func (t *Transport) dial(ctx context.Context, to ids.Host, s stream) (*link, error) {
	addr, epoch, ok := t.o.Book.Lookup(to)
	if !ok || addr == "" {
		return nil, errNoAddress
	}
	if t.fate(to, faults.Dial).Drop {
		return nil, errCut
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if !t.track(raw) {
		_ = raw.Close()
		return nil, errClosed
	}
	conn := raw
	if t.o.ClientTLS != nil {
		conn = tls.Client(raw, t.tlsFor(addr))
	}
	l, err := t.greet(ctx, &link{Conn: conn, raw: raw, t: t}, &hello{version: protocol, stream: s, deployment: t.o.Deployment, from: t.self, to: to}, epoch)
	if err != nil {
		t.untrack(raw)
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return l, nil
}

// greet does the handshake.
func (t *Transport) greet(ctx context.Context, l *link, h *hello, known uint64) (*link, error) {
	// Both the deadline and the end of ctx end the handshake.
	inTime := context.AfterFunc(ctx, func() { _ = l.raw.SetDeadline(time.Unix(1, 0)) })
	defer inTime()
	if _, err := l.Write(h.encode()); err != nil {
		return nil, err
	}
	a, err := readAnswer(l.Conn)
	if err != nil {
		return nil, err
	}
	if err = t.recognize(h, &a); err != nil {
		return nil, err
	}
	peer, leave, refused := t.sessions.admit(a.from, known, l.raw)
	if refused != nil {
		t.counters.refuse(refused.reason)
		return nil, refused
	}
	if !inTime() {
		leave()
		return nil, ctx.Err()
	}
	t.counters.outbound.Add(1)
	t.counters.dialed.Add(1)
	l.peer, l.leave = peer, leave
	if err = t.o.Book.Learn(a.from.host, a.from.advertise, a.from.epoch); err != nil {
		t.o.Log.Error("transport: a peer's address could not be kept", "peer", a.from.host, "error", err)
	}
	return l, nil
}

// recognize checks that the host that answered is the one that was called.
func (t *Transport) recognize(h *hello, a *answer) error {
	switch {
	case a.version != protocol:
		return refuse(refusedVersion, "the peer speaks protocol version %d, this host speaks %d", a.version, protocol)
	case a.refused != "":
		return refuse(a.refused, "the peer says: %s", a.text)
	case a.from.host != h.to:
		return refuse(refusedHost, "host %s answered instead of %s", a.from.host, h.to)
	}
	return nil
}

// tlsFor returns the client's configuration with the name that the certificate must
// have: the host part of the address that was dialed, unless the owner set one.
func (t *Transport) tlsFor(addr string) *tls.Config {
	c := t.o.ClientTLS
	if c.ServerName != "" || c.InsecureSkipVerify {
		return c
	}
	c = c.Clone()
	c.ServerName, _, _ = net.SplitHostPort(addr)
	return c
}

// announce tells all known hosts where this one is now: a host that came back on
// another address is found again without waiting for its own messages.
func (t *Transport) announce() {
	lister, ok := t.o.Book.(interface{ Hosts() []ids.Host })
	if !ok {
		return
	}
	hosts := make(chan ids.Host)
	for range announcing {
		t.spawn(func() {
			for h := range hosts {
				t.announceTo(h)
			}
		})
	}
	if !t.spawn(func() {
		defer close(hosts)
		for _, h := range lister.Hosts() {
			if h == t.self.host {
				continue
			}
			select {
			case hosts <- h:
			case <-t.ctx.Done():
				return
			}
		}
	}) {
		close(hosts)
	}
}

// announceTo tells one host. It tries again while the host takes the run before this
// one for alive: that passes.
func (t *Transport) announceTo(h ids.Host) {
	wait, end := backoffMin, time.Now().Add(t.sessions.bound+backoffMax)
	for {
		l, err := t.dial(t.ctx, h, announcer)
		if err == nil {
			_ = l.Close()
			return
		}
		var refused *refusal
		passes := errors.As(err, &refused) && refused.reason == refusedDuplicate && time.Now().Before(end)
		if !passes || !t.sleep(wait) {
			t.o.Log.Debug("transport: not announced", "peer", h, "error", err)
			return
		}
		wait = min(2*wait, backoffMax)
	}
}
