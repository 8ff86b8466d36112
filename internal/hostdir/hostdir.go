// Package hostdir is the data directory of a server process.
package hostdir

import (
	"errors"

	"go.etcd.io/bbolt"

	"github.com/drumline/drumline/internal/ids"
)

// Dir is a data directory, locked by this process.
type Dir struct{}

func Open(dir string) (*Dir, error)  { return nil, errors.New("hostdir is being built") }
func (d *Dir) Host() ids.Host        { return "" }
func (d *Dir) BootEpoch() uint64     { return 0 }
func (d *Dir) Fresh() bool           { return false }
func (d *Dir) Path() string          { return "" }
func (d *Dir) RaftDir() string       { return "" }
func (d *Dir) DB() *bbolt.DB         { return nil }
func (d *Dir) Book() *Book           { return nil }
func (d *Dir) Close() error          { return nil }

// Book is where hosts are.
type Book struct{}

// Entry is what is known of a host.
type Entry struct {
	Host    ids.Host
	Address string
	Epoch   uint64
}

func (b *Book) Lookup(h ids.Host) (addr string, epoch uint64, ok bool) { return "", 0, false }
func (b *Book) Learn(h ids.Host, addr string, epoch uint64) error      { return nil }
func (b *Book) All() []Entry                                          { return nil }
