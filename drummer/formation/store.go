package formation

import (
	"fmt"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// The bucket of the host's database that formation owns, and its keys.
const (
	bucket     = "formation"
	keyMembers = "members"
	keyStarted = "started"
	prefixPeer = "peer/"
)

// store keeps the map, the peers as they last were, and whether the group was
// ever started here.
type store struct{ db *bbolt.DB }

func (s store) load() (members Members, fleet string, peers map[int]Identity, err error) {
	peers = map[int]Identity{}
	err = s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			if string(k) == keyStarted {
				return nil
			}
			var r drummerpb.FormResponse
			if bad := proto.Unmarshal(v, &r); bad != nil {
				return fmt.Errorf("key %s: %w", k, bad)
			}
			if string(k) == keyMembers {
				members, fleet = membersOf(&r), r.GetFleet()
			} else if strings.HasPrefix(string(k), prefixPeer) {
				peers[int(r.GetIndex())] = identityOf(&r)
			}
			return nil
		})
	})
	if err != nil {
		return nil, "", nil, fmt.Errorf("read the drummers' map: %w", err)
	}
	return members, fleet, peers, nil
}

// Formed tells whether the data directory of this database has the map of a group that was
// formed with it.
func Formed(db *bbolt.DB) (bool, error) {
	members, _, _, err := store{db}.load()
	return members != nil, err
}

func (s store) saveMembers(m Members, fleet string) error {
	r := &drummerpb.FormResponse{Members: make(map[uint32]string, len(m)), Fleet: fleet}
	for i, h := range m {
		r.Members[uint32(i)] = string(h)
	}
	return s.put(keyMembers, r)
}

func (s store) savePeer(id Identity) error {
	return s.put(prefixPeer+strconv.Itoa(id.Index), &drummerpb.FormResponse{
		Index: uint32(id.Index), HostId: string(id.Host), Raft: id.Raft,
		BootEpoch: id.BootEpoch, Name: id.Name, Region: id.Region,
	})
}

func (s store) put(key string, m proto.Message) error {
	v, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err == nil {
		err = s.putBytes(key, v)
	}
	if err != nil {
		return fmt.Errorf("write %s of the drummers' map: %w", key, err)
	}
	return nil
}

func (s store) putBytes(key string, v []byte) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		return b.Put([]byte(key), v)
	})
}

// Started tells whether the group's replica was ever started on this directory:
// from then on it is never again started with first members, so that a directory
// that lost its Raft data is refused, and does not vote anew.
func (f *Formation) Started() (bool, error) {
	var started bool
	err := f.store.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(bucket)); b != nil {
			started = b.Get([]byte(keyStarted)) != nil
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("read the drummers' map: %w", err)
	}
	return started, nil
}

// MarkStarted records that the replica was started.
func (f *Formation) MarkStarted() error {
	if err := f.store.putBytes(keyStarted, []byte{1}); err != nil {
		return fmt.Errorf("write %s of the drummers' map: %w", keyStarted, err)
	}
	return nil
}
