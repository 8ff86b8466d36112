package client

import "cmp"

// road yields the addresses that one call tries, in turn: first the address that the
// last answer named, then the preferred ones, then all others of the kind. Addresses
// that did not answer lately come last. When all were tried, a new round begins.
type road struct {
	servers *servers
	kind    string
	prefer  func() []string // best first; asked again at each step, for hints change

	redirect string          // tried next if not empty
	tried    map[string]bool // in this round
	redirs   int             // redirects followed since the last pause
}

// maxRedirects bounds how often hints are followed without a pause: two servers that
// name each other must not make a client spin.
const maxRedirects = 3

// next returns the address to try; empty if no server is known.
func (r *road) next() string {
	if a := r.redirect; a != "" {
		r.redirect = ""
		r.tried[a] = true
		return a
	}
	a := r.pick()
	if a == "" {
		clear(r.tried)
		a = r.pick()
	}
	r.tried[a] = true
	return a
}

// pick returns an address not tried in this round, or nothing.
func (r *road) pick() string {
	best, last := r.first(r.prefer())
	if best != "" {
		return best
	}
	best, other := r.first(r.servers.of(r.kind))
	return cmp.Or(best, last, other)
}

// first returns the first address of a list not tried in this round, and the first
// such that did not answer lately.
func (r *road) first(list []string) (best, suspect string) {
	for _, a := range list {
		switch {
		case a == "" || r.tried[a]:
		case !r.servers.suspected(a):
			return a, suspect
		case suspect == "":
			suspect = a
		}
	}
	return "", suspect
}

// untried tells whether this round has an address left that is not suspected.
func (r *road) untried() bool {
	a := r.pick()
	return a != "" && !r.servers.suspected(a)
}

// follow makes addr the next to try, unless too many hints were followed already.
func (r *road) follow(addr string) bool {
	if addr == "" || r.redirs >= maxRedirects {
		return false
	}
	r.redirs++
	r.redirect = addr
	return true
}

// rested notes that the call has paused.
func (r *road) rested() { r.redirs = 0 }
