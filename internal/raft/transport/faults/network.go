package faults

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/ids"
)

// Network is a Hook for tests: one value, given to all transports, is the network
// between them. What happens to the n-th batch or chunk from one host to another
// follows from the seed alone. All methods may be called at any time.
type Network struct {
	seed uint64

	mu        sync.Mutex
	cut       map[line]bool
	dice      map[die]*rand.Rand
	drop      float64
	duplicate float64
	reorder   float64
	within    time.Duration
	delay     time.Duration
}

// line is a direction between two hosts.
type line struct{ from, to ids.Host }

// die is one source of chance per direction and kind, so that how the hosts' work
// interleaves changes nothing.
type die struct {
	line
	kind Kind
}

var _ Hook = (*Network)(nil)

// New makes a network without faults.
func New(seed uint64) *Network {
	return &Network{seed: seed, cut: make(map[line]bool), dice: make(map[die]*rand.Rand)}
}

// Cut loses everything that one host sends to another; the other direction goes on.
func (f *Network) Cut(from, to ids.Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut[line{from, to}] = true
}

// Mend takes back a Cut.
func (f *Network) Mend(from, to ids.Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.cut, line{from, to})
}

// Heal takes back all cuts and all other faults.
func (f *Network) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.cut)
	f.drop, f.duplicate, f.reorder, f.within, f.delay = 0, 0, 0, 0, 0
}

// Drop loses a part p (0 to 1) of all batches and chunks.
func (f *Network) Drop(p float64) { f.set(func() { f.drop = p }) }

// Duplicate sends a part p of them twice.
func (f *Network) Duplicate(p float64) { f.set(func() { f.duplicate = p }) }

// Delay holds every batch and chunk back for d.
func (f *Network) Delay(d time.Duration) { f.set(func() { f.delay = d }) }

// Reorder holds a part p of the batches back for up to within longer than the rest,
// and lets a part p of the chunks be overtaken by the next one.
func (f *Network) Reorder(p float64, within time.Duration) {
	f.set(func() { f.reorder, f.within = p, within })
}

func (f *Network) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Fate throws the dice.
func (f *Network) Fate(from, to ids.Host, k Kind) Fate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut[line{from, to}] {
		return Fate{Drop: true}
	}
	if k != Batch && k != Chunk {
		return Fate{}
	}
	// Always as many throws, whatever is set: the next ones stay the same.
	r := f.die(die{line{from, to}, k})
	drop, twice, late, lateness := r.Float64(), r.Float64(), r.Float64(), r.Float64()
	fate := Fate{Drop: drop < f.drop, Delay: f.delay}
	if twice < f.duplicate {
		fate.Copies = 1
	}
	if late < f.reorder {
		fate.Swap = true
		if k == Batch {
			fate.Delay += time.Duration(lateness * float64(f.within))
		}
	}
	return fate
}

func (f *Network) die(d die) *rand.Rand {
	r, ok := f.dice[d]
	if !ok {
		h := fnv.New64a()
		_, _ = h.Write([]byte(string(d.from) + "\x00" + string(d.to) + "\x00" + string(rune(d.kind))))
		r = rand.New(rand.NewPCG(f.seed, h.Sum64()))
		f.dice[d] = r
	}
	return r
}
