package hostdir

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// When the directory grows older: soon after the start, so that a copy that was made
// before it is told from the original whatever the original did, then now and then.
const (
	firstBirthday = time.Second
	birthdayEach  = 30 * time.Second
)

// Age counts what the directory has lived through: it grows with every start and, while
// GrowOlder runs, with time. It is on disk before it is told. Whoever was told an age
// knows that a directory of a lower one is an old copy, which has forgotten votes, even
// if the copy was started last. A copy that is younger than half a minute may pass.
func (d *Dir) Age() uint64 { return d.age.Load() }

// GrowOlder lets the directory age until ctx ends; an error means that it can't be
// written.
func (d *Dir) GrowOlder(ctx context.Context) error {
	next := time.NewTimer(firstBirthday)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		if err := d.grow(); err != nil {
			return err
		}
		next.Reset(birthdayEach)
	}
}

// grow makes the directory one step older.
func (d *Dir) grow() error {
	age := d.age.Load() + 1
	err := d.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(hostBucket)).Put([]byte(keyAge), number(age))
	})
	if err != nil {
		return fmt.Errorf("note the age of data directory %s: %w", d.path, err)
	}
	d.age.Store(age)
	return nil
}
