package hostdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ErrDiskFull is wrapped when a disk has too little room to go on, or to start.
var ErrDiskFull = errors.New("the disk is almost full")

// Room that a server needs on its disks. dragonboat's log store does not survive a
// full one: writes hang for ever, without a word, while the process looks healthy.
// So a server stops in order before, is replaced by the supervisor like any host that
// is gone, and starts again only when there is clearly more room than when it stopped.
const (
	roomToStart = 128 << 20
	roomToGoOn  = 64 << 20
	roomEach    = time.Second
)

// CheckRoom refuses directories whose disks have too little room for a start.
func CheckRoom(dirs ...string) error { return checkRoom(freeOn, roomToStart, dirs) }

// WatchRoom returns an error that wraps ErrDiskFull as soon as a disk of the
// directories has too little room to go on, and nil when ctx ends.
func WatchRoom(ctx context.Context, dirs ...string) error {
	t := time.NewTicker(roomEach)
	defer t.Stop()
	return watchRoom(ctx, t.C, freeOn, dirs)
}

func watchRoom(ctx context.Context, each <-chan time.Time, free func(string) (uint64, error), dirs []string) error {
	for {
		if err := checkRoom(free, roomToGoOn, dirs); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-each:
		}
	}
}

func checkRoom(free func(string) (uint64, error), least uint64, dirs []string) error {
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		n, err := free(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not made yet
		}
		if err != nil {
			return fmt.Errorf("look at the room on the disk of %s: %w", dir, err)
		}
		if n < least {
			return fmt.Errorf("%w: %d MiB are free on that of %s, at least %d MiB are needed: make room, or move the directory to a larger disk",
				ErrDiskFull, n>>20, dir, least>>20)
		}
	}
	return nil
}
