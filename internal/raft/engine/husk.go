package engine

import (
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/lni/dragonboat/v3"
)

// dragonboat's clock keeps replicas that were unloaded: it lists the running ones in a
// slice that it makes shorter and never clears. Each has 0.2 MB of queues, so that a host
// which unloads thousands would keep a good part of their memory. What it keeps is
// closed and never used again; a Husk is emptied of all that is large, and later buried.

// Husk is dragonboat's replica, held to be emptied.
type Husk struct{ node reflect.Value }

// Grip takes hold of a replica, while it runs.
func Grip(nh *dragonboat.NodeHost, group uint64) (Husk, error) {
	user, err := nh.GetNodeUser(group)
	if err != nil {
		return Husk{}, fmt.Errorf("find replica of group %d: %w", group, err)
	}
	return husk(user)
}

func husk(user dragonboat.INodeUser) (Husk, error) {
	v := reflect.ValueOf(user)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return Husk{}, fmt.Errorf("this dragonboat has no user of the expected kind, but a %s", v.Type())
	}
	node := v.Elem().FieldByName("node")
	if !node.IsValid() || node.Kind() != reflect.Pointer || node.IsNil() {
		return Husk{}, fmt.Errorf("this dragonboat has no node in a %s", v.Type())
	}
	h := Husk{node.Elem()}
	return h, h.check()
}

// queues are the queues of a replica, each with its lock and slices. A closed queue
// refuses everything before it looks at them; tasks are given and taken by workers
// alone, who have all let go of a replica that is unloaded.
func queues() map[string][]string {
	return map[string][]string{
		"mq":                  {"left", "right", "nodrop", "delayed"},
		"incomingProposals":   {"left", "right"},
		"incomingReadIndexes": {"left", "right"},
		"toApplyQ":            {"tasks"},
	}
}

// check tells whether the replica is built as it was in v3.3.8.
func (h Husk) check() error {
	for queue, slices := range queues() {
		q, err := inside(h.node, queue)
		if err != nil {
			return err
		}
		if err := has[sync.Mutex](q, "mu"); err != nil {
			return err
		}
		for _, s := range slices {
			if f := q.FieldByName(s); !f.IsValid() || f.Kind() != reflect.Slice {
				return fmt.Errorf("this dragonboat's queue %s has no slice %s", queue, s)
			}
		}
	}
	if _, err := inside(h.node, "p", "raft"); err != nil {
		return err
	}
	if err := has[sync.Mutex](h.node, "raftMu"); err != nil {
		return err
	}
	if _, err := h.machine(); err != nil {
		return err
	}
	return h.checkKeys()
}

func (h Husk) checkKeys() error {
	pending, err := inside(h.node, "pendingProposals")
	if err != nil {
		return err
	}
	keys := pending.FieldByName("keyg")
	if !keys.IsValid() || keys.Kind() != reflect.Slice {
		return errors.New("this dragonboat's pending proposals have no key generators")
	}
	for i := range keys.Len() {
		k := keys.Index(i).Elem()
		if err := errors.Join(has[sync.Mutex](k, "randMu"), has[*rand.Rand](k, "rand")); err != nil {
			return err
		}
	}
	return nil
}

// inside follows pointers to structs.
func inside(v reflect.Value, path ...string) (reflect.Value, error) {
	for _, name := range path {
		f := v.FieldByName(name)
		if !f.IsValid() || f.Kind() != reflect.Pointer || f.IsNil() || f.Elem().Kind() != reflect.Struct {
			return v, fmt.Errorf("this dragonboat's %s has no %s", v.Type(), name)
		}
		v = f.Elem()
	}
	return v, nil
}

// has tells whether a struct has a field of that type.
func has[T any](v reflect.Value, name string) error {
	if f := v.FieldByName(name); !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		return fmt.Errorf("this dragonboat's %s has no %s", v.Type(), name)
	}
	return nil
}

// Empty empties a replica that dragonboat has unloaded. The zero Husk does nothing.
func (h Husk) Empty() {
	if !h.node.IsValid() {
		return
	}
	for queue, slices := range queues() {
		q := h.node.FieldByName(queue).Elem()
		locked(q.FieldByName("mu"), func() {
			for _, s := range slices {
				open(q.FieldByName(s)).SetZero()
			}
		})
	}
	// What lists all replicas may still ask whether there is a peer: that stays.
	locked(h.node.FieldByName("raftMu"), func() { open(h.node.FieldByName("p").Elem().FieldByName("raft")).SetZero() })
	keys := h.node.FieldByName("pendingProposals").Elem().FieldByName("keyg")
	for i := range keys.Len() {
		k := keys.Index(i).Elem()
		locked(k.FieldByName("randMu"), func() {
			open(k.FieldByName("rand")).Set(reflect.ValueOf(rand.New(new(counter)))) //nolint:gosec // no secret: nothing is proposed any more
		})
	}
}

func locked(mu reflect.Value, f func()) {
	m := (*sync.Mutex)(unsafe.Pointer(mu.UnsafeAddr())) //nolint:gosec // checked to be one
	m.Lock()
	defer m.Unlock()
	f()
}

// open makes a field of another package's settable.
func open(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem() //nolint:gosec // of that very type
}

// counter is a source for the key generator of a closed replica: dragonboat's own have
// 5 KB.
type counter struct{ n atomic.Uint64 }

func (c *counter) Int63() int64   { return int64(c.Uint64() >> 1) } //nolint:gosec // 63 bits
func (c *counter) Uint64() uint64 { return c.n.Add(1) }
func (c *counter) Seed(int64)     {}
