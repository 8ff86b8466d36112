package members

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// The bucket of the host's database that this room owns, and its keys.
const (
	bucket    = "members"
	keyOwn    = "own"
	keyRoster = "roster"
)

// own is what a drummer must know of itself before it has asked anybody.
type own struct {
	// Number that it joined with; of a founder it is the index of its configuration.
	Number uint64 `json:"number"`
	// Started: the replica of a drummer that joined was started here. Without its data it
	// is never started again, because it would vote anew.
	Started bool `json:"started"`
	// Removed: it belongs to the group no more.
	Removed bool `json:"removed"`
}

type store struct{ db *bbolt.DB }

func (s store) load() (own, *drummerpb.Roster, error) {
	var o own
	var r drummerpb.Roster
	err := s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		if v := b.Get([]byte(keyOwn)); v != nil {
			if err := json.Unmarshal(v, &o); err != nil {
				return fmt.Errorf("key %s: %w", keyOwn, err)
			}
		}
		if err := proto.Unmarshal(b.Get([]byte(keyRoster)), &r); err != nil {
			return fmt.Errorf("key %s: %w", keyRoster, err)
		}
		return nil
	})
	if err != nil {
		return own{}, nil, fmt.Errorf("read the drummers' list: %w", err)
	}
	return o, &r, nil
}

func (s store) saveOwn(o own) error {
	return s.put(o, nil)
}

func (s store) saveRoster(r *drummerpb.Roster) error {
	return s.write(func(b *bbolt.Bucket) error { return putRoster(b, r) })
}

// put writes what this drummer is, with the list that says so if there is one, in one step.
func (s store) put(o own, r *drummerpb.Roster) error {
	return s.write(func(b *bbolt.Bucket) error {
		v, err := json.Marshal(o)
		if err == nil {
			err = b.Put([]byte(keyOwn), v)
		}
		if err == nil && r != nil {
			err = putRoster(b, r)
		}
		return err
	})
}

func putRoster(b *bbolt.Bucket, r *drummerpb.Roster) error {
	v, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	return b.Put([]byte(keyRoster), v)
}

func (s store) write(change func(*bbolt.Bucket) error) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		return change(b)
	})
	if err != nil {
		return fmt.Errorf("write the drummers' list: %w", err)
	}
	return nil
}
