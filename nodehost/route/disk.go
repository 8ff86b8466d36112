package route

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/statemachines"
)

// bucket of the directory, on disk: a group's full name to its Location.
const bucket = "route"

// errEnough ends the reading of a directory that is larger than is wanted.
var errEnough = errors.New("enough")

// loadDisk reads the directory; an entry that cannot be read is passed over, for it
// is only a hint.
func loadDisk(db *bbolt.DB, most int) ([]*hostpb.Location, error) {
	var out []*hostpb.Location
	err := db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		return b.ForEach(func(name, value []byte) error {
			where := read(name, value)
			if where == nil {
				return nil
			}
			if out = append(out, where); len(out) >= most {
				return errEnough
			}
			return nil
		})
	})
	if err != nil && !errors.Is(err, errEnough) {
		return out, fmt.Errorf("read the directory: %w", err)
	}
	return out, nil
}

// read decodes one hint, or returns nil.
func read(name, value []byte) *hostpb.Location {
	where := &hostpb.Location{}
	if err := proto.Unmarshal(value, where); err != nil || statemachines.NameOf(where) != string(name) || where.GetId() == 0 {
		return nil
	}
	return where
}

// disk writes changed hints behind the requests' backs, many in one transaction: a
// hint is not worth a synchronous write.
type disk struct {
	db    *bbolt.DB
	pause time.Duration
	log   *slog.Logger

	wake chan struct{} // holds one token while something is dirty
	stop chan struct{}
	done chan struct{}
	once sync.Once

	mu    sync.Mutex
	dirty map[string]*hostpb.Location // guarded by mu; nil: to be deleted
}

// startDisk starts the writer; close ends it.
func startDisk(o Options) *disk {
	d := &disk{
		db: o.DB, pause: o.Flush, log: o.Log, dirty: map[string]*hostpb.Location{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go d.run()
	return d
}

// changed notes a hint to be written, or deleted if nil.
func (d *disk) changed(name string, where *hostpb.Location) {
	if d == nil {
		return
	}
	d.mu.Lock()
	d.dirty[name] = where
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run writes at most once a pause.
func (d *disk) run() {
	defer close(d.done)
	for {
		select {
		case <-d.wake:
		case <-d.stop:
			return
		}
		t := time.NewTimer(d.pause)
		select {
		case <-t.C:
		case <-d.stop:
			t.Stop()
			return
		}
		if err := d.flush(); err != nil {
			d.log.Warn("hints of where groups are could not be written; they are learned again after a restart", "err", err)
		}
	}
}

// flush writes what is dirty.
func (d *disk) flush() error {
	d.mu.Lock()
	dirty := d.dirty
	d.dirty = map[string]*hostpb.Location{}
	d.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	err := d.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		for name, where := range dirty {
			if err := write(b, name, where); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the directory: %w", err)
	}
	return nil
}

// write writes or deletes one hint.
func write(b *bbolt.Bucket, name string, where *hostpb.Location) error {
	if where == nil {
		return b.Delete([]byte(name))
	}
	value, err := proto.Marshal(where)
	if err != nil {
		return err
	}
	return b.Put([]byte(name), value)
}

// close writes what is left and waits for the writer; idempotent.
func (d *disk) close() error {
	if d == nil {
		return nil
	}
	d.once.Do(func() { close(d.stop) })
	<-d.done
	return d.flush()
}
