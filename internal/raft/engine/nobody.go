package engine

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	sm "github.com/lni/dragonboat/v3/statemachine"
)

// dragonboat's workers wait for a signal and then take the list of groups that want something.
// Who puts a group on a list signals afterwards, so that a worker often has done already what
// the next signal was for. It finds an empty list then, and dragonboat takes that for "look at
// all groups": with hundreds of replicas such a look costs more than what there was to do.
// So a group that nobody has is put on the list in each round: a list with it is not empty,
// and the workers pass over it. Their look at all, now and then (see looks.go), has a list of its own.

// nobody is the number of no group: dragonboat refuses 0.
const nobody = 0

// Rounds tells of the rounds of the workers that step replicas, numbered from 1.
type Rounds interface {
	// OnRound has f called in each round, by the worker itself, before it takes its next list.
	OnRound(f func(worker uint64))
}

// lists are those of an engine's workers of one kind, by their number from 0.
type lists []unsafe.Pointer

// listsOf finds an engine's lists of that name.
func listsOf(engine reflect.Value, name string) (lists, error) {
	ready, err := inside(engine, name)
	if err != nil {
		return nil, err
	}
	maps := ready.FieldByName("maps")
	if !maps.IsValid() || maps.Kind() != reflect.Slice || maps.Len() == 0 {
		return nil, fmt.Errorf("this dragonboat's %s has no maps", name)
	}
	found := make(lists, maps.Len())
	for i := range found {
		list := maps.Index(i)
		if list.Kind() != reflect.Pointer || list.IsNil() || list.Type().Elem().Name() != "readyCluster" {
			return nil, errors.New("this dragonboat's lists are others")
		}
		found[i] = list.UnsafePointer()
	}
	return found, nil
}

// hold puts nobody on the list of a worker.
func (l lists) hold(worker uint64) {
	setClusterReady(l[worker%uint64(len(l))], nobody)
}

// setClusterReady puts a group on a list, under its lock and without a signal.
//
//go:linkname setClusterReady github.com/lni/dragonboat/v3.(*readyCluster).setClusterReady
func setClusterReady(list unsafe.Pointer, group uint64)

// joined is the state machine of a replica in a Crowd.
type joined struct {
	sm.IConcurrentStateMachine

	crowd *Crowd
	group uint64
}

// Update applies entries.
func (j *joined) Update(entries []sm.Entry) ([]sm.Entry, error) {
	// dragonboat gives a group to the worker of its number, modulo theirs.
	j.crowd.apply.hold(j.group)
	return j.IConcurrentStateMachine.Update(entries)
}

// PrepareSnapshot prepares for one. The worker left the entries behind it until it is called
// again, and now nothing stands against that any more.
func (j *joined) PrepareSnapshot() (any, error) {
	setApplyReady(j.crowd.engine, j.group)
	return j.IConcurrentStateMachine.PrepareSnapshot()
}

// setApplyReady has dragonboat apply what there is to apply for a group.
//
//go:linkname setApplyReady github.com/lni/dragonboat/v3.(*engine).setApplyReady
func setApplyReady(engine unsafe.Pointer, group uint64)
