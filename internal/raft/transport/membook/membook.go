// Package membook is an address book of hosts in memory, for hosts that share a process:
// tests and benchmarks. It keeps the rules of hostdir's, which is on disk.
package membook

import (
	"maps"
	"slices"
	"sync"

	"github.com/drumline/drumline/internal/ids"
)

// Book is where hosts are. It is a transport.Book; several hosts may share it.
type Book struct {
	mu sync.Mutex
	at map[ids.Host]place // guarded by mu
}

// place is where a host is since which start.
type place struct {
	addr  string
	epoch uint64
}

// New returns an empty book.
func New() *Book { return &Book{at: make(map[ids.Host]place)} }

// Next is the epoch of a host's next start: one above the newest known.
func (b *Book) Next(h ids.Host) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at[h].epoch + 1
}

// Lookup returns where a host is.
func (b *Book) Lookup(h ids.Host) (addr string, epoch uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.at[h]
	return p.addr, p.epoch, ok
}

// Learn notes where a host is, unless something newer is known.
func (b *Book) Learn(h ids.Host, addr string, epoch uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if epoch >= b.at[h].epoch {
		b.at[h] = place{addr, epoch}
	}
	return nil
}

// Hosts lists all that are known, in order.
func (b *Book) Hosts() []ids.Host {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.at))
}
