package engine

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/lni/dragonboat/v3"
)

// dragonboat's workers list all its replicas anew whenever one is started, under the lock that
// the next start needs: to start ten thousand is quadratic, and most of what it costs. The
// workers go by a number that each start raises. A Crowd keeps it down while many are being
// started, so that they list all only now and then.
//
// One thing relies on the number: a worker that knows a replica asks another one to restore
// it, which takes the number's word for knowing all, and forgets what it is asked of others.
// So that one is asked again once the number is raised.

// When a Crowd acts: lists of few replicas cost nothing, and a start after a pause shall not wait.
const (
	crowdFrom  = 256
	crowdPause = 25 * time.Millisecond
)

// Crowd makes the start of very many replicas of one NodeHost cheap. The nil *Crowd does
// nothing.
type Crowd struct {
	// lock and number are dragonboat's: the lock guards the number, the replicas, and
	// what follows.
	lock   *sync.RWMutex
	number *uint64

	shown  time.Time // when the number was raised last
	trail  *time.Timer
	hidden []uint64 // the groups for which the trail is to raise it
	closed bool
	// engine is dragonboat's, a pointer.
	engine unsafe.Pointer
	// size is how many replicas run, about.
	size atomic.Int64
}

// NewCrowd takes hold of a NodeHost's list. Close it before the NodeHost is stopped.
func NewCrowd(nh *dragonboat.NodeHost) (*Crowd, error) {
	mu, lock, err := listOf(nh)
	if err != nil {
		return nil, err
	}
	engine := reflect.ValueOf(nh).Elem().FieldByName("engine")
	if !engine.IsValid() || engine.Kind() != reflect.Pointer || engine.Type().Elem().Name() != "engine" {
		return nil, errors.New("this dragonboat's NodeHost has no engine")
	}
	if err := has[uint64](mu, "cci"); err != nil {
		return nil, fmt.Errorf("the list of replicas: %w", err)
	}
	c := &Crowd{
		lock:   lock,
		number: (*uint64)(unsafe.Pointer(mu.FieldByName("cci").UnsafeAddr())), //nolint:gosec // checked to be one
		engine: engine.UnsafePointer(),
	}
	c.trail = time.AfterFunc(time.Hour, c.show)
	c.trail.Stop()
	return c, nil
}

// listOf finds the struct in which dragonboat keeps its list of replicas, and the lock of it.
func listOf(nh *dragonboat.NodeHost) (list reflect.Value, lock *sync.RWMutex, err error) {
	list = reflect.ValueOf(nh).Elem().FieldByName("mu")
	if !list.IsValid() || list.Kind() != reflect.Struct {
		return list, nil, errors.New("this dragonboat's NodeHost has no mu")
	}
	if err := has[sync.RWMutex](list, "RWMutex"); err != nil {
		return list, nil, fmt.Errorf("the list of replicas: %w", err)
	}
	return list, (*sync.RWMutex)(unsafe.Pointer(list.FieldByName("RWMutex").UnsafeAddr())), nil //nolint:gosec // checked to be one
}

// Count tells how many replicas run: what is started, and how often, decides by it.
func (c *Crowd) Count(n int) {
	if c != nil {
		c.size.Store(int64(n))
	}
}

// Joins is called within the start of a group's replica, when dragonboat asks for the state
// machine: it holds the lock then, and raises the number afterwards.
func (c *Crowd) Joins(group uint64) {
	if c == nil || c.size.Load() < crowdFrom {
		return
	}
	now := time.Now()
	if now.Sub(c.shown) >= crowdPause || c.closed {
		c.shown = now
		return
	}
	*c.number--
	if len(c.hidden) == 0 {
		c.trail.Reset(crowdPause)
	}
	c.hidden = append(c.hidden, group)
}

// show raises the number for all who joined meanwhile. Workers look at it five times a
// second, besides when they are told.
func (c *Crowd) show() {
	for _, group := range c.raise() {
		setRecoverReady(c.engine, group)
	}
}

func (c *Crowd) raise() []uint64 {
	c.lock.Lock()
	defer c.lock.Unlock()
	hidden := c.hidden
	if c.closed || len(hidden) == 0 {
		return nil
	}
	c.hidden, c.shown = nil, time.Now()
	*c.number++
	return hidden
}

// setRecoverReady has dragonboat restore a replica, if that was asked for.
//
//go:linkname setRecoverReady github.com/lni/dragonboat/v3.(*engine).setRecoverReady
func setRecoverReady(engine unsafe.Pointer, group uint64)

// Close ends it.
func (c *Crowd) Close() {
	if c == nil {
		return
	}
	c.trail.Stop()
	c.lock.Lock()
	defer c.lock.Unlock()
	c.closed = true
}
