package replicas

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/drumline/drumline/nodehost/replicas/tombs"
)

// The manifest's place in the host's database: one bucket, one record per replica
// and per tombstone below it. Keys are group and replica, big endian. The values
// are JSON with a version, so that a person can read them when it counts. The
// names are on disk: do not rename.
const (
	bucketManifest   = "replicas"
	bucketRecords    = "records"
	bucketTombstones = "tombstones"
	keyFence         = "fence"
	keyMarker        = "marker"
	storeVersion     = 1
)

// envelope is what every value is wrapped in.
type envelope[T any] struct {
	Version int `json:"v"`
	Value   T   `json:"value"`
}

func encode[T any](v T) ([]byte, error) {
	b, err := json.Marshal(envelope[T]{storeVersion, v})
	if err != nil {
		return nil, fmt.Errorf("manifest: encode: %w", err)
	}
	return b, nil
}

func decode[T any](key, raw []byte) (T, error) {
	var e envelope[T]
	if err := json.Unmarshal(raw, &e); err != nil {
		return e.Value, fmt.Errorf("manifest: decode %q: %w", key, err)
	}
	if e.Version != storeVersion {
		return e.Value, fmt.Errorf("manifest: %q has version %d, this program knows %d", key, e.Version, storeVersion)
	}
	return e.Value, nil
}

// store keeps the manifest in the host's database.
type store struct{ db *bbolt.DB }

// load reads the whole manifest. What it cannot read ends the host: to guess at
// what votes here is worse than to stay down.
func (s store) load() (Manifest, error) {
	m := Manifest{Records: map[Key]Record{}, Tombstones: map[Key]Tombstone{}}
	err := s.db.View(func(tx *bbolt.Tx) error {
		root := tx.Bucket([]byte(bucketManifest))
		if root == nil {
			return nil
		}
		if err := loadAll(root.Bucket([]byte(bucketRecords)), m.Records); err != nil {
			return err
		}
		if err := loadAll(root.Bucket([]byte(bucketTombstones)), m.Tombstones); err != nil {
			return err
		}
		if err := loadOne(root, keyFence, &m.Fence); err != nil {
			return err
		}
		return loadOne(root, keyMarker, &m.Marker)
	})
	return m, err
}

func loadAll[T interface{ Key() Key }](b *bbolt.Bucket, into map[Key]T) error {
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, raw []byte) error {
		key, err := tombs.KeyFrom(k)
		if err != nil {
			return err
		}
		v, err := decode[T](k, raw)
		if err != nil {
			return err
		}
		if v.Key() != key {
			return fmt.Errorf("manifest: the record of %s says it is %s", key, v.Key())
		}
		into[key] = v
		return nil
	})
}

func loadOne[T any](b *bbolt.Bucket, name string, into *T) error {
	raw := b.Get([]byte(name))
	if raw == nil {
		return nil
	}
	v, err := decode[T]([]byte(name), raw)
	if err == nil {
		*into = v
	}
	return err
}

// commit makes the changes durable in one synced transaction.
func (s store) commit(saves []Save) error {
	if len(saves) == 0 {
		return nil
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists([]byte(bucketManifest))
		if err != nil {
			return err
		}
		records, err := root.CreateBucketIfNotExists([]byte(bucketRecords))
		if err != nil {
			return err
		}
		tombs, err := root.CreateBucketIfNotExists([]byte(bucketTombstones))
		if err != nil {
			return err
		}
		for _, c := range saves {
			if err := c.write(root, records, tombs); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("manifest: write: %w", err)
	}
	return nil
}

func (c Save) write(root, records, tombs *bbolt.Bucket) error {
	switch {
	case c.Record != nil:
		return put(records, c.Record.Key().Bytes(), *c.Record)
	case c.Drop != nil:
		return records.Delete(c.Drop.Bytes())
	case c.Tombstone != nil:
		return put(tombs, c.Tombstone.Key().Bytes(), *c.Tombstone)
	case c.Forget != nil:
		return tombs.Delete(c.Forget.Bytes())
	case c.Fence != nil:
		return put(root, []byte(keyFence), *c.Fence)
	case c.Marker != nil:
		return put(root, []byte(keyMarker), *c.Marker)
	}
	return nil
}

func put[T any](b *bbolt.Bucket, key []byte, v T) error {
	raw, err := encode(v)
	if err != nil {
		return err
	}
	return b.Put(key, raw)
}
