package states

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/statefile"
)

// File names: those of retired replicas stay until the replica is destroyed, those that
// were staged for a day, temporary ones never outlive a start.
const (
	retiredPrefix = "retired-"
	stagedPrefix  = "staged-"
	temporary     = "temporary-"
	stagedFor     = 24 * time.Hour
	dirMode       = 0o700
)

// store is a directory of states.
type store struct{ dir string }

// openStore makes the directory and removes what nobody needs any more.
func openStore(dir string) (store, error) {
	s := store{dir}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return s, fmt.Errorf("directory of states: %w", err)
	}
	return s, s.sweep(true)
}

// sweep removes staged states that are old, and at the start what was being written when the
// host ended. Later, temporary files are those of calls under way.
func (s store) sweep(starting bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("directory of states: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		old := err == nil && strings.HasPrefix(e.Name(), stagedPrefix) && time.Since(info.ModTime()) > stagedFor
		if old || starting && strings.HasPrefix(e.Name(), temporary) {
			if err := s.remove(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s store) remove(name string) error {
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a state: %w", err)
	}
	return nil
}

// write makes a file of what fill sends, and is on disk when it returns. A file of that
// name is replaced.
func (s store) write(name string, fill func(send func(*statepb.Piece) error) error) (err error) {
	f, err := os.CreateTemp(s.dir, temporary)
	if err != nil {
		return fmt.Errorf("keep a state: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keep a state: %w", err), s.remove(filepath.Base(f.Name())))
		}
	}()
	if err = errors.Join(fillFile(f, fill), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(s.dir, name)); err != nil {
		return err
	}
	return syncDir(s.dir)
}

func fillFile(f *os.File, fill func(send func(*statepb.Piece) error) error) error {
	send, err := statefile.Into(f)
	if err != nil {
		return err
	}
	if err := fill(send); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// open opens a state; the caller closes it.
func (s store) open(name string) (func() (*statepb.Piece, error), io.Closer, error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.New(fault.Conflict, "this host has no state %q", name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open a state: %w", err)
	}
	next, err := statefile.From(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return next, f, nil
}

func retiredName(group uint64) string { return fmt.Sprintf("%s%d", retiredPrefix, group) }

// stagedName refuses what is no id of ours, so that nobody names another file.
func stagedName(id string) (string, error) {
	for _, c := range id {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return "", fault.New(fault.Invalid, "%q is no id of a staged state", id)
		}
	}
	return stagedPrefix + id, nil
}

func newID() string { return rand.Text() }
