package engine

import (
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
// closed and never used again; a Husk is emptied of all that is large.

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

// queues are the closed queues of a replica, each with its lock and slices: a closed
// queue refuses everything before it looks at them.
func queues() map[string][]string {
	return map[string][]string{
		"mq":                  {"left", "right", "nodrop", "delayed"},
		"incomingProposals":   {"left", "right"},
		"incomingReadIndexes": {"left", "right"},
	}
}

// check tells whether the replica is built as it was in v3.3.8.
func (h Husk) check() error {
	for queue, slices := range queues() {
		q := h.node.FieldByName(queue)
		if !q.IsValid() || q.Kind() != reflect.Pointer || !isMutex(q.Elem().FieldByName("mu")) {
			return fmt.Errorf("this dragonboat's replica has no queue %s with a lock", queue)
		}
		for _, s := range slices {
			if f := q.Elem().FieldByName(s); !f.IsValid() || f.Kind() != reflect.Slice {
				return fmt.Errorf("this dragonboat's queue %s has no slice %s", queue, s)
			}
		}
	}
	if p := h.node.FieldByName("p"); !p.IsValid() || p.Kind() != reflect.Pointer || !isMutex(h.node.FieldByName("raftMu")) {
		return fmt.Errorf("this dragonboat's replica has no raft peer with a lock")
	}
	keys := h.node.FieldByName("pendingProposals")
	if !keys.IsValid() || keys.Kind() != reflect.Pointer {
		return fmt.Errorf("this dragonboat's replica has no pending proposals")
	}
	if keys = keys.Elem().FieldByName("keyg"); !keys.IsValid() || keys.Kind() != reflect.Slice {
		return fmt.Errorf("this dragonboat's pending proposals have no key generators")
	}
	for i := range keys.Len() {
		k := keys.Index(i).Elem()
		if r := k.FieldByName("rand"); !isMutex(k.FieldByName("randMu")) || !r.IsValid() || r.Type() != reflect.TypeFor[*rand.Rand]() {
			return fmt.Errorf("this dragonboat's key generator has no source with a lock")
		}
	}
	return nil
}

func isMutex(v reflect.Value) bool { return v.IsValid() && v.Type() == reflect.TypeFor[sync.Mutex]() }

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
	locked(h.node.FieldByName("raftMu"), func() { open(h.node.FieldByName("p")).SetZero() })
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
