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

// maxMin is the max-min share of a request, as far as it is free.
func (b *book) maxMin(a Ask, capacity, now float64) float64 {
	b.entries = slices.DeleteFunc(b.entries, func(e entry) bool { return e.client != a.Client && e.lease.expiry < now })
	me := b.want(a)
	free := capacity
	for i, e := range b.entries {
		if i != me {
			free -= e.lease.capacity
		}
	}
	return max(0, min(b.water(capacity)[me], free))
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
