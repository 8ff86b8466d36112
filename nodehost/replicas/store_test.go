package replicas

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

func openStore(t *testing.T) store {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "host.db"), 0o600, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return store{db}
}

func TestStoreKeepsEverything(t *testing.T) {
	s := openStore(t)
	m, err := s.load()
	require.NoError(t, err)
	require.Equal(t, emptyManifest(), m, "a new database has an empty manifest")
	r := Record{
		Group: 1000, Replica: 7, Name: "kv/a", Members: map[ids.Replica]ids.Host{7: "a", 8: "b"},
		Generation: 4, Life: life.Running, Suspect: true, Crashes: 1,
	}
	gone := Record{Group: 1001, Replica: 9, Name: "kv/b", Join: true, Life: life.Destroying}
	tomb := Tombstone{Group: 1002, Replica: 3, Generation: 8, Sequence: 5}
	old := Tombstone{Group: 1003, Replica: 3, Sequence: 4}
	k, forget, marker := gone.Key(), old.Key(), []Key{key(1000, 7), key(1001, 9)}
	require.NoError(t, s.commit([]Save{{Record: &r}, {Record: &gone}, {Tombstone: &tomb}, {Tombstone: &old}, {Fence: &Fence{2, 9}}, {Marker: &marker}}))
	require.NoError(t, s.commit([]Save{{Drop: &k}, {Forget: &forget}}))
	require.NoError(t, s.commit(nil))
	m, err = s.load()
	require.NoError(t, err)
	require.Equal(t, Manifest{
		Fence: Fence{2, 9}, Marker: marker,
		Records: map[Key]Record{r.Key(): r}, Tombstones: map[Key]Tombstone{tomb.Key(): tomb},
	}, m)
}

func TestStoreRefusesWhatItCannotRead(t *testing.T) {
	good, err := encode(Record{Group: 1000, Replica: 7})
	require.NoError(t, err)
	for name, c := range map[string]struct{ key, value, want string }{
		"not JSON":      {string(key(1000, 7).Bytes()), "{", "decode"},
		"newer version": {string(key(1000, 7).Bytes()), `{"v":2,"value":{}}`, "has version 2"},
		"other key":     {string(key(1000, 8).Bytes()), string(good), "the record of 1000.8 says it is 1000.7"},
		"short key":     {"abc", string(good), "key of 3 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			require.NoError(t, s.commit([]Save{{Fence: &Fence{}}}))
			require.NoError(t, s.db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(bucketManifest)).Bucket([]byte(bucketRecords)).Put([]byte(c.key), []byte(c.value))
			}))
			_, err := s.load()
			require.ErrorContains(t, err, c.want)
		})
	}
}
