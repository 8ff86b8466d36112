// Package hostdir is the data directory of a server process, of nodehosts and
// drummers alike: it says who the process is.
//
//	LOCK      held by the process that uses the directory
//	host.db   bbolt: the host's id and boot epoch, the address book, and buckets
//	          of other rooms
//	raft/     dragonboat's data
//	MEMORY    only in that of a host whose Raft data is in memory (OpenMemory)
//
// Identity. The host id is random and made together with host.db: a directory
// without the file is a new host, never an old one under its old name, because a
// host that lost its disk must not vote again. The boot epoch counts the starts; it
// is on disk before Open returns, so that no two runs ever show the same one. Peers
// refuse an epoch older than they know, which is how an old copy of a disk is found;
// Drummer refuses one of a lower age, which finds those that were started last, too.
//
// Nothing is ever reset on its own account. host.db is made under another name and
// renamed when it is whole; a crash before that leaves a fresh directory, and
// anything else that can't be read is an error that says what to do.
package hostdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/drumline/drumline/internal/ids"
)

const (
	lockFile     = "LOCK"
	dbFile       = "host.db"
	newDBFile    = "host.db.new" // until the first transaction is on disk
	raftSubdir   = "raft"
	statesSubdir = "states"

	dirMode  os.FileMode = 0o700
	fileMode os.FileMode = 0o600
)

// Reasons why a directory can't be used.
var (
	// ErrInUse: another process, or this one, has the directory open.
	ErrInUse = errors.New("data directory is in use")
	// ErrDamaged: the directory's identity can't be read.
	ErrDamaged = errors.New("data directory is damaged")
)

// Dir is a data directory, locked by this process until Close.
type Dir struct {
	path     string
	identity identity
	fresh    bool
	lock     *lock
	memory   bool // nothing here outlives the process
	db       *bbolt.DB
	book     *Book

	closing sync.Once
	closed  error
	age     atomic.Uint64
}

// Open locks the directory, makes it if need be, and counts one more boot.
func Open(dir string) (*Dir, error) { return open(dir, false) }

// open is Open, or OpenMemory.
func open(dir string, memory bool) (_ *Dir, err error) {
	path, err := prepare(dir)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, memory: memory}
	if d.lock, err = acquire(path); err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err = d.settleStorage(); err != nil {
		return nil, err
	}
	if d.fresh, err = d.create(); err != nil {
		return nil, fmt.Errorf("make data directory %s: %w", path, err)
	}
	if d.db, err = openDB(filepath.Join(path, dbFile)); err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Join(path, dbFile), err)
	}
	d.db.NoSync = memory // who it is ends with the process
	if err = d.start(); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(path, dbFile), err)
	}
	if err = os.MkdirAll(d.RaftDir(), dirMode); err != nil {
		return nil, fmt.Errorf("make data directory %s: %w", path, err)
	}
	return d, nil
}

// start reads the book and, when everything could be read, counts the boot.
func (d *Dir) start() (err error) {
	if d.book, err = readBook(d.db); err != nil {
		return err
	}
	d.identity, err = boot(d.db)
	d.age.Store(d.identity.age)
	return err
}

// Host is the id of this host: it stays while the directory exists.
func (d *Dir) Host() ids.Host { return d.identity.host }

// BootEpoch is this start's number, from 1.
func (d *Dir) BootEpoch() uint64 { return d.identity.epoch }

// Fresh tells whether this Open made the host: nobody knows it yet.
func (d *Dir) Fresh() bool { return d.fresh }

// Path is the directory, absolute.
func (d *Dir) Path() string { return d.path }

// RaftDir is where dragonboat keeps its data.
func (d *Dir) RaftDir() string { return filepath.Join(d.path, raftSubdir) }

// StatesDir is where states of groups are kept that no replica runs with; made by whoever
// keeps the first one.
func (d *Dir) StatesDir() string { return filepath.Join(d.path, statesSubdir) }

// DB is the open host.db; rooms keep to buckets of their own. Close closes it.
func (d *Dir) DB() *bbolt.DB { return d.db }

// Book is the address book in host.db.
func (d *Dir) Book() *Book { return d.book }

// Close closes host.db and gives the directory free. It may be called twice.
func (d *Dir) Close() error {
	d.closing.Do(func() {
		var problems []error
		if d.db != nil {
			problems = append(problems, d.db.Close())
		}
		d.closed = errors.Join(append(problems, d.lock.release())...)
	})
	return d.closed
}

// prepare makes the directory, closes it to others and returns its absolute path.
func prepare(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no data directory is given")
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err = os.MkdirAll(path, dirMode); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	if info.Mode().Perm()&^dirMode != 0 {
		if err = os.Chmod(path, dirMode); err != nil {
			return "", fmt.Errorf("close data directory to others (chmod 0700 %s): %w", path, err)
		}
	}
	return path, nil
}

// create makes host.db unless it is there, and tells whether it did.
func (d *Dir) create() (bool, error) {
	final := filepath.Join(d.path, dbFile)
	if _, err := os.Lstat(final); err == nil || !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if err := d.checkVirgin(); err != nil {
		return false, err
	}
	// What a crash left under this name never was anybody's identity.
	fresh := filepath.Join(d.path, newDBFile)
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if err := createDB(fresh); err != nil {
		return false, err
	}
	if err := os.Rename(fresh, final); err != nil {
		return false, err
	}
	return true, syncDir(d.path)
}

// checkVirgin refuses to give a new identity to a host's old data.
func (d *Dir) checkVirgin() error {
	entries, err := os.ReadDir(d.RaftDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	return fmt.Errorf("%w: it holds Raft data (%s) but no %s, so nobody can say whose data it is; "+
		"put the file back, or remove the whole directory and start as a new host, whose replicas are replaced",
		ErrDamaged, raftSubdir, dbFile)
}

func syncDir(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}
