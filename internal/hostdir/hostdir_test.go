package hostdir_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/drumline/drumline/internal/hostdir"
	"github.com/drumline/drumline/internal/ids"
)

func open(t *testing.T, path string) *hostdir.Dir {
	t.Helper()
	d, err := hostdir.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestAHostKeepsItsIDAndCountsItsBoots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "data")
	var host ids.Host
	for boot := uint64(1); boot <= 4; boot++ {
		d, err := hostdir.Open(path)
		require.NoError(t, err)
		require.Equal(t, boot == 1, d.Fresh())
		require.Equal(t, boot, d.BootEpoch())
		require.DirExists(t, d.RaftDir())
		require.Regexp(t, `^nh-[a-z2-7]{16}$`, string(d.Host()))
		if boot > 1 {
			require.Equal(t, host, d.Host())
		}
		host = d.Host()
		require.NoError(t, d.Close())
		require.NoError(t, d.Close(), "closing twice is fine")
	}
	require.NotEqual(t, host, open(t, t.TempDir()).Host(), "ids are random")
}

func TestTheDirectoryIsClosedToOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(path, 0o755))
	open(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(path, "host.db"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestOneProcessAtATime(t *testing.T) {
	path := t.TempDir()
	first, err := hostdir.Open(path)
	require.NoError(t, err)

	_, err = hostdir.Open(path)
	require.ErrorIs(t, err, hostdir.ErrInUse)
	require.ErrorContains(t, err, "this same process")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	_, err = hostdir.Open(link)
	require.ErrorIs(t, err, hostdir.ErrInUse, "the same directory by another path")

	out := child(t, path)
	require.Contains(t, out, "in use by another process (pid "+fmt.Sprint(os.Getpid())+")")

	require.NoError(t, first.Close())
	require.Contains(t, child(t, path), "epoch 2")
	require.Equal(t, uint64(3), open(t, path).BootEpoch(), "a refused start is no boot")
}

// child opens the directory in another process and returns what it says.
func child(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), "HOSTDIR_CHILD="+path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestChild(t *testing.T) {
	path := os.Getenv("HOSTDIR_CHILD")
	if path == "" {
		t.Skip("runs in a child process only")
	}
	d, err := hostdir.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("epoch", d.BootEpoch())
	require.NoError(t, d.Close())
}

func TestACrashDuringTheFirstStartLeavesAFreshDirectory(t *testing.T) {
	for name, left := range map[string][]byte{"nothing written": {}, "half a page": bytes.Repeat([]byte{7}, 2000)} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(path, "LOCK"), nil, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(path, "host.db.new"), left, 0o600))
			require.NoError(t, os.Mkdir(filepath.Join(path, "raft"), 0o700))
			d := open(t, path)
			require.True(t, d.Fresh())
			require.Equal(t, uint64(1), d.BootEpoch())
			require.NoFileExists(t, filepath.Join(path, "host.db.new"))
		})
	}
	t.Run("whole but not renamed", func(t *testing.T) {
		path := t.TempDir()
		d, err := hostdir.Open(path)
		require.NoError(t, err)
		id := d.Host()
		require.NoError(t, d.Close())
		require.NoError(t, os.Rename(filepath.Join(path, "host.db"), filepath.Join(path, "host.db.new")))
		require.NotEqual(t, id, open(t, path).Host(), "an id that was never used is not taken over")
	})
}

func TestDamageIsAnErrorThatSaysWhatToDoAndChangesNothing(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"empty":     func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) },
		"one page":  func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 4096)) },
		"two pages": func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 8192)) },
		"cut":       func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 5*4096)) },
		"garbage": func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("garbage "), 4096), 0o600))
		},
		"no host in it": func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("host")) }))
			require.NoError(t, db.Close())
		},
		"no id": func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("host")).Delete([]byte("id")) }))
			require.NoError(t, db.Close())
		},
		"pages overwritten": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			for page := int64(2); page < 8; page++ {
				_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 4096), page*4096)
				require.NoError(t, err)
			}
			require.NoError(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "host.db")
			d, err := hostdir.Open(dir)
			require.NoError(t, err)
			for n := range 200 { // some pages to lose
				require.NoError(t, d.Book().Learn(ids.Host(fmt.Sprintf("nh-%04d", n)), strings.Repeat("a", 200), 1))
				if n == 20 && testing.Short() {
					break
				}
			}
			require.NoError(t, d.Close())
			damage(t, path)
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			for range 2 {
				_, err = hostdir.Open(dir)
				require.ErrorIs(t, err, hostdir.ErrDamaged)
				require.ErrorContains(t, err, "remove the whole directory")
			}
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after), "the file was changed")
		})
	}
}

func TestRaftDataWithoutItsHostIsRefused(t *testing.T) {
	dir := t.TempDir()
	d, err := hostdir.Open(dir)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(d.RaftDir(), "log"), []byte("votes"), 0o600))
	require.NoError(t, d.Close())
	require.NoError(t, os.Remove(filepath.Join(dir, "host.db")))
	_, err = hostdir.Open(dir)
	require.ErrorIs(t, err, hostdir.ErrDamaged)
	require.ErrorContains(t, err, "Raft data")
}

func TestAPathThatIsNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := hostdir.Open(file)
	require.Error(t, err)
	_, err = hostdir.Open("")
	require.ErrorContains(t, err, "no data directory")
}

func TestBook(t *testing.T) {
	dir := t.TempDir()
	d, err := hostdir.Open(dir)
	require.NoError(t, err)
	b := d.Book()
	_, _, ok := b.Lookup("nh-a")
	require.False(t, ok)

	steps := []struct {
		addr      string
		epoch     uint64
		wantAddr  string
		wantEpoch uint64
	}{
		{"h:1", 3, "h:1", 3},
		{"h:2", 2, "h:1", 3}, // older: ignored
		{"h:2", 3, "h:2", 3}, // the same run moved
		{"h:3", 4, "h:3", 4},
		{"", 5, "h:3", 5}, // only its epoch is known
		{"", 4, "h:3", 5},
	}
	for _, s := range steps {
		require.NoError(t, b.Learn("nh-a", s.addr, s.epoch))
		addr, epoch, known := b.Lookup("nh-a")
		require.True(t, known)
		require.Equal(t, s.wantAddr, addr)
		require.Equal(t, s.wantEpoch, epoch)
	}
	require.NoError(t, b.Learn("nh-b", "h:9", 1))
	require.NoError(t, b.Learn("nh-c", "h:9", 1))
	require.NoError(t, b.Forget("nh-c"))
	require.Error(t, b.Learn("", "h:9", 1))
	require.Error(t, b.Learn("nh-d", strings.Repeat("x", 300), 1))
	require.NoError(t, d.Close())

	require.Equal(t, []hostdir.Entry{
		{Host: "nh-a", Address: "h:3", Epoch: 5}, {Host: "nh-b", Address: "h:9", Epoch: 1},
	}, open(t, dir).Book().All())
}

func TestTheBookKeepsTheHighestEpochUnderConcurrency(t *testing.T) {
	b := open(t, t.TempDir()).Book()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for e := range 10 {
				require.NoError(t, b.Learn("nh-a", fmt.Sprint(n), uint64(e*8+n)))
				b.Lookup("nh-a")
				b.All()
			}
		})
	}
	wg.Wait()
	addr, epoch, _ := b.Lookup("nh-a")
	require.Equal(t, uint64(79), epoch)
	require.Equal(t, "7", addr)
}

func TestOtherRoomsKeepTheirBuckets(t *testing.T) {
	dir := t.TempDir()
	d, err := hostdir.Open(dir)
	require.NoError(t, err)
	require.NoError(t, d.DB().Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("manifest"))
		require.NoError(t, err)
		return b.Put([]byte("k"), []byte("v"))
	}))
	require.NoError(t, d.Close())
	require.NoError(t, open(t, dir).DB().View(func(tx *bbolt.Tx) error {
		require.Equal(t, "v", string(tx.Bucket([]byte("manifest")).Get([]byte("k"))))
		return nil
	}))
}
