package engine

import (
	"errors"
	"sync"
	"time"
	_ "unsafe" // for go:linkname
)

// Beside what they are told of, dragonboat's three kinds of workers look at all replicas of a
// NodeHost five times a second, those that sleep included, which is a large part of what a
// crowd of sleepers costs (docs/performance.md). Such a look finds replicas that were started,
// and what a lost signal was for. A Crowd tells of starts again, and of the entries behind a
// snapshot (see nobody.go), so that one a second is enough: it is the bound on how long
// anything else that dragonboat forgets is left alone.

// lookEvery is how often they look.
const lookEvery = time.Second

//go:linkname nodeReloadInterval github.com/lni/dragonboat/v3.nodeReloadInterval
var nodeReloadInterval time.Duration

// looks are set once: the workers of every NodeHost of a process read it without a lock when
// they start.
var looks struct {
	once sync.Once
	err  error
}

// LookRarely has the workers of all NodeHosts that this process opens from now on look at all
// of their replicas once a second. Call it before each, and give each a Crowd.
func LookRarely() error {
	looks.once.Do(func() {
		if nodeReloadInterval == 0 {
			looks.err = errors.New("raft: this dragonboat has no interval of looks at all replicas")
			return
		}
		nodeReloadInterval = lookEvery
	})
	return looks.err
}
