package simulate

import "math"

// Rules of the original's simulation for one server.
type Rules struct {
	Capacity float64
	// Lease and Refresh are lengths in seconds; each level of the tree multiplies
	// Refresh by Decay.
	Lease, Refresh float64
	Decay, Level   float64
	// OwnExpiry is when the server's own capacity ends, nil for never.
	OwnExpiry *float64
}

// Lease is what a client of the simulation gets. Times are seconds.
type Lease struct {
	Capacity, Expiry, Refresh float64
}

// Scaling divides as the original's simulation does, which is not what its servers
// do: when more is wanted than there is, everybody is scaled by the same factor, so
// that one who wants much takes from all others.
type Scaling struct {
	rules Rules
	// order of arrival: sums are always built in it.
	order  []string
	wants  map[string]float64
	leases map[string]Lease
}

// NewScaling makes a server without clients.
func NewScaling(r Rules) *Scaling {
	return &Scaling{rules: r, wants: map[string]float64{}, leases: map[string]Lease{}}
}

// Ask answers a client at a time, in seconds.
func (s *Scaling) Ask(now float64, client string, wants float64) Lease {
	s.expire(now)
	if _, known := s.wants[client]; !known {
		s.order = append(s.order, client)
	}
	s.wants[client] = wants
	sum, others := 0.0, 0.0
	for _, c := range s.order {
		sum += s.wants[c]
		if c != client {
			others += s.leases[c].Capacity
		}
	}
	free := max(0, s.rules.Capacity-others)
	l := s.term(now)
	if sum < s.rules.Capacity {
		l.Capacity = min(wants, free)
	} else {
		l.Capacity = min(wants*s.rules.Capacity/sum, free)
	}
	s.leases[client] = l
	return l
}

// term is a lease that begins now, without its capacity.
func (s *Scaling) term(now float64) Lease {
	l := Lease{Expiry: now + s.rules.Lease, Refresh: math.Floor(math.Pow(s.rules.Decay, s.rules.Level) * s.rules.Refresh)}
	if own := s.rules.OwnExpiry; own != nil {
		l.Expiry = min(l.Expiry, *own)
	}
	if now+l.Refresh >= l.Expiry {
		l.Refresh = l.Expiry - now - 1
	}
	return l
}

func (s *Scaling) expire(now float64) {
	kept := s.order[:0]
	for _, c := range s.order {
		if s.leases[c].Expiry < now {
			delete(s.wants, c)
			delete(s.leases, c)
		} else {
			kept = append(kept, c)
		}
	}
	s.order = kept
}
