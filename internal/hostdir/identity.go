package hostdir

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/drumline/drumline/internal/ids"
)

// Buckets and keys of host.db. Do not rename: they are on disk.
const (
	hostBucket = "host"
	bookBucket = "book"
	keyFormat  = "format"
	keyID      = "id"
	keyEpoch   = "epoch"
	keyAge     = "age"

	format = 1
	// hostPrefix and hostRandom make an id: 16 characters of base32 are 80 bits.
	hostPrefix = "nh-"
	hostRandom = 10

	// lockTimeout bounds the wait for bbolt's own lock, which nobody can hold who
	// respects ours.
	lockTimeout = time.Second
)

// identity is who the host is in this run.
type identity struct {
	host  ids.Host
	epoch uint64
	age   uint64
}

func newHost() (ids.Host, error) {
	var raw [hostRandom]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("make a host id: %w", err)
	}
	return ids.Host(hostPrefix + strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))), nil
}

// createDB makes a file with a new host in it, whole and on disk when it returns.
func createDB(path string) (err error) {
	host, err := newHost()
	if err != nil {
		return err
	}
	db, err := bbolt.Open(path, fileMode, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte(hostBucket))
		if err != nil {
			return err
		}
		if _, err = tx.CreateBucket([]byte(bookBucket)); err != nil {
			return err
		}
		return errors.Join(b.Put([]byte(keyFormat), number(format)),
			b.Put([]byte(keyID), []byte(host)), b.Put([]byte(keyEpoch), number(0)))
	})
}

// openDB opens a file that must be whole.
func openDB(path string) (*bbolt.DB, error) {
	if err := checkDB(path); err != nil {
		return nil, err
	}
	var db *bbolt.DB
	err := guard(func() (err error) {
		db, err = bbolt.Open(path, fileMode, &bbolt.Options{Timeout: lockTimeout})
		return err
	})
	return db, explain(err)
}

// checkDB looks at the file before bbolt maps it for good: bbolt takes an empty
// file for a new one, and touching a page beyond the end of a cut one kills the
// process.
func checkDB(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return explain(errors.New("the file is empty"))
	}
	var want int64
	err = guard(func() error {
		db, bad := bbolt.Open(path, fileMode, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
		if bad != nil {
			return bad
		}
		bad = db.View(func(tx *bbolt.Tx) error {
			want = tx.Size()
			return nil
		})
		return errors.Join(bad, db.Close())
	})
	if err == nil && info.Size() < want {
		err = fmt.Errorf("the file has %d bytes of %d", info.Size(), want)
	}
	return explain(err)
}

// boot counts one more start and returns who the host is; the count is on disk.
func boot(db *bbolt.DB) (id identity, err error) {
	err = guard(func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(hostBucket))
			if b == nil {
				return errors.New("it holds no host")
			}
			if id, err = readIdentity(b); err != nil {
				return err
			}
			id.epoch++
			id.age++
			return errors.Join(b.Put([]byte(keyEpoch), number(id.epoch)), b.Put([]byte(keyAge), number(id.age)))
		})
	})
	return id, explain(err)
}

func readIdentity(b *bbolt.Bucket) (identity, error) {
	version, epoch := b.Get([]byte(keyFormat)), b.Get([]byte(keyEpoch))
	host := string(b.Get([]byte(keyID)))
	switch {
	case len(version) != 8 || len(epoch) != 8 || !strings.HasPrefix(host, hostPrefix):
		return identity{}, errors.New("the host's id or boot epoch is missing")
	case binary.BigEndian.Uint64(version) != format:
		return identity{}, fmt.Errorf("it has format %d, this program knows %d: use the program that wrote it, or a newer one",
			binary.BigEndian.Uint64(version), format)
	}
	id := identity{host: ids.Host(host), epoch: binary.BigEndian.Uint64(epoch)}
	if age := b.Get([]byte(keyAge)); len(age) == 8 { // directories were made without one
		id.age = binary.BigEndian.Uint64(age)
	}
	return id, nil
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// guard makes an error of bbolt's panics: it panics on pages that make no sense.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bbolt: %v", p)
		}
	}()
	return f()
}

// explain tells what to do about a file that can't be read.
func explain(err error) error {
	if err == nil || errors.Is(err, os.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: %w; bring the file back from the very same disk (never from an older copy: an old vote "+
		"breaks Raft), or remove the whole directory and start as a new host, whose replicas are replaced", ErrDamaged, err)
}
