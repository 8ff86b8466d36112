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
	sm "github.com/lni/dragonboat/v3/statemachine"
)

// dragonboat's workers list all its replicas anew whenever one is started, under the lock that
// the next start needs: to start ten thousand is quadratic, and most of what it costs. The
// workers go by a number that each start raises. A Crowd keeps it down while many are being
// started, so that they list all only now and then.
//
// Two things rely on the number: who applies is told of a replica that starts, and asks another
// worker to restore it; and either takes the number's word for knowing all, and forgets what it
// is told of others. They forget it at times without a Crowd too, because what is told first
// may be heard last. So they are told again a while later, when all have listed it.

// When a Crowd acts: lists of few replicas cost nothing, and a start after a pause shall not wait.
const (
	crowdFrom  = 256
	crowdPause = 25 * time.Millisecond
)

// Crowd makes it cheap that one NodeHost starts very many replicas, and has them while a few
// work. The nil *Crowd does nothing.
type Crowd struct {
	// lock and number are dragonboat's: the lock guards the number, the replicas, and
	// what follows.
	lock   *sync.RWMutex
	number *uint64

	shown  time.Time // when the number was raised last
	trail  *time.Timer
	fresh  []uint64 // the groups of those that joined since the trail ran
	listed []uint64 // those that joined before, and may be told again
	hidden bool     // the number was kept down for one of the fresh
	closed bool
	// engine is dragonboat's, a pointer.
	engine unsafe.Pointer
	// size is how many replicas run, about.
	size atomic.Int64
	// step and apply are the lists of workers.
	step, apply lists
}

// NewCrowd takes hold of a NodeHost's lists, before it has replicas. Close it before the
// NodeHost is stopped.
func NewCrowd(nh *dragonboat.NodeHost, rounds Rounds) (*Crowd, error) {
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
	if c.step, err = listsOf(engine.Elem(), "stepWorkReady"); err != nil {
		return nil, err
	}
	if c.apply, err = listsOf(engine.Elem(), "applyWorkReady"); err != nil {
		return nil, err
	}
	rounds.OnRound(func(worker uint64) { c.step.hold(worker - 1) })
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
// machine, and returns what dragonboat is to be given: it holds the lock then, and raises the
// number afterwards.
func (c *Crowd) Joins(group uint64, machine sm.IConcurrentStateMachine) sm.IConcurrentStateMachine {
	if c == nil {
		return machine
	}
	c.note(group, time.Now())
	return &joined{IConcurrentStateMachine: machine, crowd: c, group: group}
}

// note notes one that joins, and keeps the number down if many do.
func (c *Crowd) note(group uint64, now time.Time) {
	if c.closed {
		return
	}
	if len(c.fresh)+len(c.listed) == 0 {
		c.trail.Reset(crowdPause)
	}
	c.fresh = append(c.fresh, group)
	if c.size.Load() < crowdFrom || now.Sub(c.shown) >= crowdPause {
		c.shown = now
		return
	}
	*c.number--
	c.hidden = true
}

// show is the trail.
func (c *Crowd) show() {
	fresh, listed := c.raise()
	for _, group := range fresh {
		setCCIReady(c.engine, group)
	}
	for _, group := range listed {
		setApplyReady(c.engine, group)
		setRecoverReady(c.engine, group)
	}
}

// raise raises the number for all who joined meanwhile.
func (c *Crowd) raise() (fresh, listed []uint64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.closed {
		return nil, nil
	}
	fresh, listed = c.fresh, c.listed
	c.fresh, c.listed = nil, fresh
	if c.hidden {
		c.hidden, c.shown = false, time.Now()
		*c.number++
	}
	if len(fresh) > 0 {
		c.trail.Reset(crowdPause)
	}
	return fresh, listed
}

// setCCIReady has dragonboat's workers list the replicas.
//
//go:linkname setCCIReady github.com/lni/dragonboat/v3.(*engine).setCCIReady
func setCCIReady(engine unsafe.Pointer, group uint64)

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
