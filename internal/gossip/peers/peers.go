// Package peers keeps on disk whom a process gossiped with last, so that after a restart
// it finds the others even when nobody else tells it of them.
package peers

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/bbolt"
)

// Place in the server's database; on disk, do not rename. The value is JSON with a
// version.
const (
	bucket  = "gossip"
	key     = "peers"
	version = 1
)

// Most is how many addresses are kept: one that still answers is enough to find all.
const Most = 256

type stored struct {
	Version int      `json:"v"`
	Peers   []string `json:"peers"`
}

// Book is what is kept. Its methods may be called from any goroutine.
type Book struct {
	db *bbolt.DB

	mu   sync.Mutex
	kept []string // sorted
}

// Open reads what is on disk. It is a hint: what does not decode is forgotten.
func Open(db *bbolt.DB) (*Book, error) {
	b := &Book{db: db}
	err := db.View(func(tx *bbolt.Tx) error {
		in := tx.Bucket([]byte(bucket))
		if in == nil {
			return nil
		}
		var s stored
		if json.Unmarshal(in.Get([]byte(key)), &s) == nil && s.Version == version {
			b.kept = s.Peers
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("gossip's peers: read: %w", err)
	}
	return b, nil
}

// Peers are the addresses kept.
func (b *Book) Peers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.kept)
}

// Keep keeps addresses instead of those before, at most so many; nothing is written when
// they are the same, or when there are none: who is alone looks for those of before.
func (b *Book) Keep(addrs []string) error {
	addrs = slices.Compact(slices.Sorted(slices.Values(addrs)))
	addrs = addrs[:min(len(addrs), Most)]
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(addrs) == 0 || slices.Equal(addrs, b.kept) {
		return nil
	}
	raw, err := json.Marshal(stored{version, addrs})
	if err != nil {
		return fmt.Errorf("gossip's peers: encode: %w", err)
	}
	err = b.db.Update(func(tx *bbolt.Tx) error {
		in, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		return in.Put([]byte(key), raw)
	})
	if err != nil {
		return fmt.Errorf("gossip's peers: write: %w", err)
	}
	b.kept = addrs
	return nil
}
