package engine

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/lni/dragonboat/v3"
)

// An emptied husk still is some thirty objects, each of which keeps a page of Go's heap in
// use that hardly anything else is on: with thousands of them that costs more than their
// bytes. Graves make one object of it, a while after it was unloaded: whatever it points at
// is replaced by the same part of another unloaded replica, the model. All those parts are
// closed and refuse everything, so that whoever still came to the husk would find what he
// would have found before.

// burialAfter is how long a husk is left alone: nobody who got hold of it before it was
// unloaded is still on the way to it then, and it is long gone from dragonboat's lists.
const burialAfter = 10 * time.Second

// Graves are of the replicas that one NodeHost unloaded. The nil *Graves does nothing.
// All methods may be called at any time.
type Graves struct {
	// list is dragonboat's lock of its list of replicas.
	list *sync.RWMutex

	mu    sync.Mutex
	model Husk
	laid  []laid // in order
}

type laid struct {
	husk Husk
	at   time.Time
}

// NewGraves makes the graves of a NodeHost.
func NewGraves(nh *dragonboat.NodeHost) (*Graves, error) {
	_, lock, err := listOf(nh)
	if err != nil {
		return nil, err
	}
	return &Graves{list: lock}, nil
}

// Lay takes a husk that was emptied, to be buried later.
func (g *Graves) Lay(h Husk, now time.Time) {
	if g == nil || !h.node.IsValid() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.laid = append(g.laid, laid{h, now})
}

// Bury buries the husks whose time has come, and tells how many.
func (g *Graves) Bury(now time.Time) (buried int) {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var due []Husk
	for len(g.laid) > 0 && now.Sub(g.laid[0].at) >= burialAfter {
		due = append(due, g.laid[0].husk)
		g.laid[0] = laid{}
		g.laid = g.laid[1:]
	}
	if len(due) == 0 {
		return 0
	}
	// Whoever has been at the list before us has seen all there was to see of them.
	g.list.Lock()
	g.list.Unlock() //nolint:staticcheck // that was all
	for _, h := range due {
		switch {
		case !h.destroyed():
			g.laid = append(g.laid, laid{h, now})
		case !g.model.node.IsValid():
			g.model = h
		default:
			h.become(g.model)
			buried++
		}
	}
	return buried
}

// unmade is what a replica's state machine is in dragonboat.
type unmade interface{ DestroyedC() <-chan struct{} }

func (h Husk) machine() (unmade, error) {
	f := h.node.FieldByName("sm")
	if !f.IsValid() || f.Kind() != reflect.Pointer || f.IsNil() {
		return nil, fmt.Errorf("this dragonboat's %s has no sm", h.node.Type())
	}
	m, ok := open(f).Interface().(unmade)
	if !ok {
		return nil, fmt.Errorf("this dragonboat's %s cannot be destroyed", f.Type())
	}
	return m, nil
}

// destroyed tells whether the state machine has been closed, the last thing that dragonboat
// does to a replica.
func (h Husk) destroyed() bool {
	m, err := h.machine()
	if err != nil {
		return false
	}
	select {
	case <-m.DestroyedC():
		return true
	default:
		return false
	}
}

// become gives a husk the parts of another one; numbers, locks and settings stay.
func (h Husk) become(model Husk) {
	for i := range h.node.NumField() {
		to, from := h.node.Field(i), model.node.Field(i)
		switch to.Kind() {
		case reflect.Pointer, reflect.Func, reflect.Chan, reflect.Interface:
			open(to).Set(open(from))
		case reflect.Struct:
			if to.Type() == reflect.TypeFor[atomic.Value]() {
				repoint(to, from)
			}
		}
	}
}

// repoint gives an atomic.Value another one's.
func repoint(to, from reflect.Value) {
	value := func(v reflect.Value) *atomic.Value {
		return (*atomic.Value)(unsafe.Pointer(v.UnsafeAddr())) //nolint:gosec // the caller has checked it
	}
	if x := value(from).Load(); x != nil {
		value(to).Store(x)
	}
}
