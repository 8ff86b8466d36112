package logdb

import (
	_ "unsafe" // for go:linkname

	_ "github.com/lni/dragonboat/v3" // has newStore
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/raftio"
	"github.com/lni/goutils/vfs"
)

// storeName is what dragonboat calls its own store; it is written into every data
// directory and checked.
const storeName = "sharded-pebble"

// newStore is dragonboat's own way to open its log store. It is not exported there,
// and there is no other way to stand before it.
//
//go:linkname newStore github.com/lni/dragonboat/v3/internal/logdb.NewDefaultLogDB
func newStore(c config.NodeHostConfig, busy config.LogDBCallback, dirs, logDirs []string, fs vfs.FS) (raftio.ILogDB, error)

// Factory opens dragonboat's log store with a Store before it.
type Factory struct{ store *Store }

var _ config.LogDBFactory = (*Factory)(nil)

// Name is that of dragonboat's own store: the data is the same.
func (*Factory) Name() string { return storeName }

// Store is the one that was opened, nil before.
func (f *Factory) Store() *Store { return f.store }

// Create opens the store; dragonboat closes it.
func (f *Factory) Create(c config.NodeHostConfig, busy config.LogDBCallback, dirs, logDirs []string) (raftio.ILogDB, error) {
	inner, err := newStore(c, busy, dirs, logDirs, c.Expert.FS)
	if err != nil {
		return nil, err
	}
	f.store = New(inner, c.Expert.Engine.ExecShards)
	return f.store, nil
}
