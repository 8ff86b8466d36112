package hostdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/drumline/drumline/internal/ids"
)

// maxText bounds ids and addresses that come from outside.
const maxText = 256

// Book remembers, through restarts, where hosts are and the highest boot epoch seen
// of each. All methods may be called from many goroutines.
type Book struct {
	db *bbolt.DB

	learn sync.Mutex // one writer at a time; Lookup never waits for the disk

	mu      sync.RWMutex
	entries map[ids.Host]Entry // guarded by mu
}

// Entry is what is known of a host.
type Entry struct {
	Host    ids.Host
	Address string
	// Epoch is the highest boot epoch seen.
	Epoch uint64
}

// Lookup returns where the host was last, and the highest boot epoch seen of it.
func (b *Book) Lookup(h ids.Host) (addr string, epoch uint64, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	e, ok := b.entries[h]
	return e.Address, e.Epoch, ok
}

// All returns every host known, sorted by id.
func (b *Book) All() []Entry {
	b.mu.RLock()
	all := make([]Entry, 0, len(b.entries))
	for _, e := range b.entries {
		all = append(all, e)
	}
	b.mu.RUnlock()
	slices.SortFunc(all, func(x, y Entry) int { return strings.Compare(string(x.Host), string(y.Host)) })
	return all
}

// Hosts returns the ids of every host known, sorted.
func (b *Book) Hosts() []ids.Host {
	all := b.All()
	hosts := make([]ids.Host, len(all))
	for n, e := range all {
		hosts[n] = e.Host
	}
	return hosts
}

// Learn records a host's address; it is on disk when Learn returns. News of an
// older boot epoch are ignored. An empty address raises the epoch only.
func (b *Book) Learn(h ids.Host, addr string, epoch uint64) error {
	if h == "" || len(h) > maxText || len(addr) > maxText {
		return errors.New("learn an address: the host's id is empty, or a text is too long")
	}
	b.learn.Lock()
	defer b.learn.Unlock()
	known, knownEpoch, ok := b.Lookup(h)
	if ok && epoch < knownEpoch {
		return nil
	}
	if addr == "" {
		addr = known
	}
	e := Entry{Host: h, Address: addr, Epoch: epoch}
	if ok && e == (Entry{Host: h, Address: known, Epoch: knownEpoch}) {
		return nil
	}
	if err := b.write(e); err != nil {
		return fmt.Errorf("learn the address of host %s: %w", h, err)
	}
	b.mu.Lock()
	b.entries[h] = e
	b.mu.Unlock()
	return nil
}

// Forget drops what is known of a host, its epoch too: only for one that is gone
// for ever.
func (b *Book) Forget(h ids.Host) error {
	b.learn.Lock()
	defer b.learn.Unlock()
	err := b.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bookBucket)).Delete([]byte(h)) })
	if err != nil {
		return fmt.Errorf("forget host %s: %w", h, err)
	}
	b.mu.Lock()
	delete(b.entries, h)
	b.mu.Unlock()
	return nil
}

func (b *Book) write(e Entry) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		value := binary.BigEndian.AppendUint64(nil, e.Epoch)
		return tx.Bucket([]byte(bookBucket)).Put([]byte(e.Host), append(value, e.Address...))
	})
}

func readBook(db *bbolt.DB) (*Book, error) {
	b := &Book{db: db, entries: make(map[ids.Host]Entry)}
	err := guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			book := tx.Bucket([]byte(bookBucket))
			if book == nil {
				return errors.New("it holds no address book")
			}
			return book.ForEach(func(k, v []byte) error {
				if len(v) < 8 {
					return fmt.Errorf("the address of host %q makes no sense", k)
				}
				e := Entry{Host: ids.Host(k), Epoch: binary.BigEndian.Uint64(v), Address: string(v[8:])}
				b.entries[e.Host] = e
				return nil
			})
		})
	})
	if err != nil {
		return nil, explain(err)
	}
	return b, nil
}
