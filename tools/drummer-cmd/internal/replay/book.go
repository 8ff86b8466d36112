package replay

import "slices"

// lease is what a client was granted.
type lease struct{ capacity, expiry float64 }

// entry is a client in the book.
type entry struct {
	client        string
	wants, weight float64
	lease         lease
}

// book keeps what the machine granted, to find the max-min answer independently of
// it, by filling water round by round.
type book struct{ entries []entry }

func newBook() book { return book{} }

func (b *book) find(client string) int {
	return slices.IndexFunc(b.entries, func(e entry) bool { return e.client == client })
}

// holds is what a client has at a time.
func (b *book) holds(client string, now float64) float64 {
	if i := b.find(client); i >= 0 && b.entries[i].lease.expiry >= now {
		return b.entries[i].lease.capacity
	}
	return 0
}

func (b *book) release(client string) {
	b.entries = slices.DeleteFunc(b.entries, func(e entry) bool { return e.client == client })
}

// want notes what a client wants and returns its place.
func (b *book) want(a Ask) int {
	i := b.find(a.Client)
	if i < 0 {
		i = len(b.entries)
		b.entries = append(b.entries, entry{client: a.Client})
	}
	b.entries[i].wants, b.entries[i].weight = float64(a.Wants), float64(a.weight())
	return i
}

func (b *book) note(a Ask, l lease) { b.entries[b.want(a)].lease = l }

// expire forgets leases that have ended, but for the client that asks.
func (b *book) expire(but string, now float64) {
	b.entries = slices.DeleteFunc(b.entries, func(e entry) bool { return e.client != but && e.lease.expiry < now })
}

// free is what all others leave.
func (b *book) free(client string, capacity float64) float64 {
	for _, e := range b.entries {
		if e.client != client {
			capacity -= e.lease.capacity
		}
	}
	return max(0, capacity)
}

// proportional is what the original's formula gives, between 0 and what is wanted.
func (b *book) proportional(a Ask, capacity float64) float64 {
	wants, weight := float64(a.Wants), float64(a.weight())
	sum, n := 0.0, 0.0
	for _, e := range b.entries {
		sum += e.wants
		n += e.weight
	}
	if b.find(a.Client) < 0 {
		n += weight
	}
	share := wants
	if equal := capacity / n; sum > capacity && wants > equal*weight {
		share = equal*weight + (wants-equal*weight)*b.topUp(a, equal)
	}
	return max(0, min(share, wants, b.free(a.Client, capacity)))
}

// topUp is the part of what everybody lacks that others leave over.
func (b *book) topUp(a Ask, equal float64) float64 {
	extra, need := 0.0, 0.0
	for _, e := range b.entries {
		if e.client == a.Client {
			e.wants, e.weight = float64(a.Wants), float64(a.weight())
		}
		if over := e.wants - equal*e.weight; over < 0 {
			extra -= over
		} else {
			need += over
		}
	}
	if need == 0 {
		return 0
	}
	return extra / need
}

// maxMin is the max-min share of a request, as far as it is free.
func (b *book) maxMin(a Ask, capacity float64) float64 {
	me := b.want(a)
	return min(b.water(capacity)[me], b.free(a.Client, capacity))
}

// water is everybody's max-min share.
func (b *book) water(capacity float64) []float64 {
	shares := make([]float64, len(b.entries))
	met := make([]bool, len(b.entries))
	for {
		left, weight := capacity, 0.0
		for i, e := range b.entries {
			if met[i] {
				left -= e.wants
			} else {
				weight += e.weight
			}
		}
		more := false
		for i, e := range b.entries {
			if met[i] {
				continue
			}
			shares[i] = max(0, left) / weight * e.weight
			if e.wants <= shares[i] {
				shares[i], met[i], more = e.wants, true, true
			}
		}
		if !more {
			return shares
		}
	}
}
