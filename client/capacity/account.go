package capacity

import (
	"math"
	"time"
)

// moment is one instant on both clocks of the machine. The wall clock may be set; the
// monotonic one stands still while the machine sleeps. A lease ends when either says so.
type moment struct {
	mono time.Time // as time.Now returns it: compared by its monotonic reading
	wall time.Time // without a monotonic reading
}

// plus is the moment d later, on each clock.
func (m moment) plus(d time.Duration) moment {
	return moment{mono: m.mono.Add(d), wall: m.wall.Add(d)}
}

// reached tells whether either clock has come to end.
func (m moment) reached(end moment) bool {
	return !m.mono.Before(end.mono) || !m.wall.Before(end.wall)
}

// What the holder keeps back of a lease, for clocks that run at different speeds.
const (
	driftShare = 50 // a fiftieth, which is 2 %
	driftFixed = 50 * time.Millisecond
)

// usable is the part of a lease's length that its holder uses.
func usable(length time.Duration) time.Duration {
	return max(0, length-length/driftShare-driftFixed)
}

// token tells the answers to one client apart: a later one is greater. The zero token is
// that of a server which gives none.
type token struct{ generation, n uint64 }

// before tells whether t is older than u.
func (t token) before(u token) bool {
	if t.generation != u.generation {
		return t.generation < u.generation
	}
	return t.n < u.n
}

// lease is what a server granted.
type lease struct {
	capacity float64
	token    token
	interval time.Duration // after which the server wants to be asked again
	expiry   int64         // as a Doorman said it, in seconds of its clock; 0 of others
	ends     moment        // from then on it is not used
}

// ask is what is sent for one resource.
type ask struct {
	name     string
	priority int64
	wants    float64
	serial   uint64 // the request's number: a repetition is recognised by it
	token    token  // of the newest answer that arrived, also when its lease has ended
	has      *lease // nil without a lease that still runs
}

// grant is a server's answer for one resource.
type grant struct {
	capacity float64
	token    token
	length   time.Duration
	interval time.Duration
	retry    time.Duration // when to ask again at the latest, because somebody waits; 0 for no hurry
	expiry   int64
	safe     *float64 // for the time without a lease; nil if the server does not say
	err      error    // this resource was refused; nothing else counts then
}

// account is the book of one resource: what was asked, what is held, what comes next. It
// reads no clock and is guarded by its client.
type account struct {
	name     string
	priority int64
	fallback *float64 // what the application chose for the time without a lease
	wants    float64

	held    *lease
	ceiling float64  // the least that was asked for since the held lease was asked for
	safe    *float64 // what the server said last
	err     error    // what the last answer, or the lack of one, was

	round  uint64    // of the request under way; 0 if none is
	sent   moment    // when the last request was about to be sent
	asked  float64   // what it asked for
	ever   bool      // a request was sent: the server may know of this client
	due    time.Time // monotonic: when to ask next
	failed int       // requests that failed in a row
	room   int       // how many resources a request with this one may have; 0 for any number
}

// newAccount is due at once.
func newAccount(name string, o options, now moment) *account {
	return &account{
		name: name, priority: o.priority, fallback: o.fallback, wants: o.wants,
		ceiling: math.Inf(1), due: now.mono,
	}
}

// want changes the wants, and has them sent no earlier than gap after the last request.
func (a *account) want(now moment, wants float64, gap time.Duration) {
	a.wants = wants
	if wants == a.asked && a.round == 0 && a.failed == 0 {
		return // the server knows
	}
	if a.failed > 0 {
		return // the pause after a failure stays
	}
	if soon := later(now.mono, a.sent.mono.Add(gap)); soon.Before(a.due) {
		a.due = soon
	}
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// begin notes that a request is about to be sent, and returns it. From now on the lease is
// used up to what is asked for at most: the server may give away the rest as soon as it
// has read the request, whether or not its answer ever arrives.
func (a *account) begin(now moment, round uint64) ask {
	a.round, a.sent, a.asked, a.ever = round, now, a.wants, true
	a.ceiling = min(a.ceiling, a.wants)
	q := ask{name: a.name, priority: a.priority, wants: a.wants, serial: round}
	if a.held != nil {
		q.token = a.held.token
	}
	if a.leased(now) {
		held := *a.held
		q.has = &held
	}
	return q
}

// leased tells whether there is a lease that may be used.
func (a *account) leased(now moment) bool { return a.held != nil && !now.reached(a.held.ends) }

// accept takes the answer to a request. It tells whether the answer counts: one of a
// request that was given up does not, and neither does one older than what is held. shake,
// from 0 to 1, spreads the requests of many clients.
func (a *account) accept(now moment, round uint64, g grant, shake float64) bool {
	if a.round != round || round == 0 {
		return false
	}
	if a.leased(now) && g.token.before(a.held.token) {
		return false
	}
	a.round, a.failed, a.room, a.err, a.safe = 0, 0, 0, nil, g.safe
	a.ceiling = math.Inf(1)
	a.held = &lease{
		capacity: sane(g.capacity), token: g.token, interval: g.interval, expiry: g.expiry,
		ends: a.sent.plus(usable(g.length)),
	}
	a.due = a.sent.mono.Add(shorter(period(g), jitter, shake))
	return true
}

// sane makes a grant of what the original Doorman may send: a negative one is nothing, and
// never "unlimited".
func sane(capacity float64) float64 {
	if !(capacity > 0) { // NaN too
		return 0
	}
	return capacity
}

// jitter and pauseJitter are the parts of a period and of a pause that are left to chance.
const (
	jitter      = 0.1
	pauseJitter = 0.5
)

// shorter takes a random part off d.
func shorter(d time.Duration, part, shake float64) time.Duration {
	return d - time.Duration(part*shake*float64(d))
}

// along tells whether the resource goes along with a request for others: half of its time
// is over, and nothing is wrong with it.
func (a *account) along(now moment) bool {
	return a.failed == 0 && a.room == 0 && a.ever && now.mono.Sub(a.sent.mono) >= a.due.Sub(now.mono)
}

// The bounds of the time between two requests.
const (
	shortestPeriod = 100 * time.Millisecond
	firstPause     = 200 * time.Millisecond
	longestPause   = time.Minute
)

// period is how long after a request the next one is sent: the interval that the server
// named, but early enough that more tries find room in the lease.
func period(g grant) time.Duration {
	d := min(g.interval, 2*usable(g.length)/3)
	if g.retry > 0 {
		d = min(d, g.retry)
	}
	return max(shortestPeriod, d)
}

// failure is a request that got no answer that counts.
type failure struct {
	err   error
	size  int     // the number of resources that failed together; 0 if this one did by itself
	shake float64 // from 0 to 1
}

// fail notes a failure.
func (a *account) fail(now moment, round uint64, f failure) {
	if a.round != round || round == 0 {
		return
	}
	a.round, a.err = 0, f.err
	a.failed++
	if a.room = 0; f.size > 0 {
		a.room = max(1, f.size/2)
	}
	a.due = now.mono.Add(shorter(a.pause(), pauseJitter, f.shake))
}

// split has a request tried again in halves, at once: one of its resources was refused,
// and the others must not suffer for it.
func (a *account) split(now moment, round uint64, size int) {
	if a.round != round {
		return
	}
	a.round, a.room, a.due = 0, max(1, size/2), now.mono
}

// pause is the time until the next try. It doubles with each failure, up to the interval
// at which the resource would be asked for anyhow: a crowd that waits for its server asks
// no more often than one that is served. What is refused is hardly worth asking for.
func (a *account) pause() time.Duration {
	limit := 5 * time.Second
	switch {
	case refused(a.err):
		limit = longestPause
	case a.held != nil:
		limit = min(max(a.held.interval, time.Second), longestPause)
	}
	d := firstPause << min(a.failed-1, 16)
	return min(d, limit)
}

// state is what may be used now.
func (a *account) state(now moment) State {
	if a.leased(now) {
		return State{Basis: Leased, Capacity: min(a.held.capacity, a.ceiling, a.wants), Until: a.held.ends.wall}
	}
	if a.held == nil && a.failed == 0 {
		return State{} // the first answer is still to come
	}
	safe := a.fallback
	if safe == nil {
		safe = a.safe
	}
	switch {
	case safe == nil:
		return State{Basis: Safe}
	case *safe < 0:
		return State{Basis: Safe, Capacity: math.Inf(1)}
	default:
		return State{Basis: Safe, Capacity: *safe}
	}
}
