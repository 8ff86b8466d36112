package simulate

import (
	"fmt"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// client is an honest one.
type client struct {
	w      *world
	spec   Clients
	id     string
	server *server
	wants  float64
	holds  float64
	until  time.Duration
	known  bool // it has had an answer
	token  *capacitypb.Token
	serial uint64
	safety float64
}

func (w *world) addClient(spec Clients) {
	c := &client{
		w: w, spec: spec, id: fmt.Sprintf("client-%d", len(w.clients)+1), wants: spec.Wants,
		server: w.servers[w.serverAt(spec.Server)],
	}
	w.clients = append(w.clients, c)
	w.at(0, c.ask)
	if spec.Vary > 0 {
		w.repeat(0, time.Duration(spec.Every), c.vary)
	}
}

// vary changes wants at random.
func (c *client) vary() {
	c.wants = c.spec.Wants * (1 + c.spec.Vary*(2*c.w.rand.Float64()-1))
}

// spike lets the client want something else for a while.
func (c *client) spike(wants float64, length time.Duration) {
	before := c.spec.Wants
	c.spec.Wants, c.wants = wants, wants
	c.w.at(c.w.now+length, func() { c.spec.Wants, c.wants = before, before })
}

func (c *client) leased() bool { return c.known && c.w.now <= c.until }

// safe is what it uses without a lease.
func (c *client) safe() float64 {
	switch {
	case !c.known:
		return 0
	case c.safety < 0:
		return c.wants
	}
	return min(c.safety, c.wants)
}

func (c *client) ask() {
	c.holds = min(c.holds, c.wants)
	c.serial++
	q := &capacitypb.Request{
		ClientId: c.id, Bands: oneBand(c.spec.Priority, c.wants), Token: c.token, Serial: c.serial, Limited: true,
	}
	if c.leased() {
		q.Has = &c.holds
	}
	g := c.server.answer(q)
	if g == nil {
		c.w.at(c.w.now+retry, c.ask)
		return
	}
	c.w.result.Requests++
	c.known, c.holds, c.token, c.safety = true, g.GetCapacity(), g.GetToken(), g.GetSafeCapacity()
	c.until = c.w.now + milliseconds(g.GetLeaseMs())
	c.w.at(c.w.now+pause(g), c.ask)
}

// pause is how long to wait after an answer.
func pause(g *capacitypb.Grant) time.Duration {
	if g.GetRetryMs() > 0 {
		return milliseconds(g.GetRetryMs())
	}
	return max(milliseconds(g.GetRefreshMs()), time.Millisecond)
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
