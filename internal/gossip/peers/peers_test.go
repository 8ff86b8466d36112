package peers_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/gossip/peers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, &bbolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestPeersOutliveTheProcess(t *testing.T) {
	db := open(t)
	b, err := peers.Open(db)
	require.NoError(t, err)
	require.Empty(t, b.Peers())
	require.NoError(t, b.Keep([]string{"b:1", "a:1", "b:1"}))
	require.NoError(t, b.Keep(nil), "who is alone keeps those of before")

	b, err = peers.Open(db)
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "b:1"}, b.Peers())
	require.NoError(t, b.Keep([]string{"c:1"}))
	b, err = peers.Open(db)
	require.NoError(t, err)
	require.Equal(t, []string{"c:1"}, b.Peers())
}

func TestOnlySoManyAreKept(t *testing.T) {
	b, err := peers.Open(open(t))
	require.NoError(t, err)
	var many []string
	for i := range peers.Most + 10 {
		many = append(many, fmt.Sprintf("h%d:1", i))
	}
	require.NoError(t, b.Keep(many))
	require.Len(t, b.Peers(), peers.Most)
}

func TestNothingIsWrittenWhenNothingHasChanged(t *testing.T) {
	db := open(t)
	b, err := peers.Open(db)
	require.NoError(t, err)
	require.NoError(t, b.Keep([]string{"a:1"}))
	writes := func() int64 { stats := db.Stats(); return stats.TxStats.GetWrite() }
	before := writes()
	require.NoError(t, b.Keep([]string{"a:1"}))
	require.Equal(t, before, writes())
}

func TestWhatDoesNotDecodeIsForgotten(t *testing.T) {
	db := open(t)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		in, err := tx.CreateBucket([]byte("gossip"))
		if err != nil {
			return err
		}
		return in.Put([]byte("peers"), []byte(`{"v":99,"peers":["a:1"]}`))
	}))
	b, err := peers.Open(db)
	require.NoError(t, err)
	require.Empty(t, b.Peers())
}

func TestADatabaseThatIsClosedIsAnError(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	require.NoError(t, err)
	b, err := peers.Open(db)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.Error(t, b.Keep([]string{"a:1"}))
	_, err = peers.Open(db)
	require.Error(t, err)
}
