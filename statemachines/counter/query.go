package counter

import (
	"container/list"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/wire"
)

// CheckQuery says what is wrong with a query, or nil.
func CheckQuery(q *counterpb.Query) error {
	switch op := q.GetOp().(type) {
	case *counterpb.Query_Get:
		return wire.CheckKey(op.Get.GetKey())
	case *counterpb.Query_List:
		if op.List.GetLimit() > MaxPage {
			return wire.Refuse("the limit is %d, at most %d is allowed", op.List.GetLimit(), MaxPage)
		}
		if err := wire.CheckKey(op.List.GetPrefix()); err != nil {
			return err
		}
		return wire.CheckKey(op.List.GetAfter())
	case *counterpb.Query_Windows:
		if r := op.Windows.GetResolution(); r < 0 || r > resolutions {
			return wire.Refuse("there is no resolution %d", r)
		}
		return wire.CheckKey(op.Windows.GetKey())
	case *counterpb.Query_Export:
		if op.Export.GetLimit() > MaxEntries || len(op.Export.GetSkip()) > MaxOrigins {
			return wire.Refuse("the export is to have %d counters and to skip %d origins, at most %d and %d are allowed", op.Export.GetLimit(), len(op.Export.GetSkip()), MaxEntries, MaxOrigins)
		}
		return wire.CheckKey(op.Export.GetAfterKey())
	case *counterpb.Query_Digest:
		if op.Digest.GetOf() == nil {
			return nil
		}
		return checkOrigin(op.Digest.GetOf())
	case *counterpb.Query_Status:
		return nil
	}
	return wire.Refusal("the query names no operation: set get, list, windows, export, digest or status")
}

func decodeQuery(data []byte) (*counterpb.Query, error) {
	if _, _, n := protowire.ConsumeField(data); n != len(data) || n == 0 {
		return nil, wire.Refusal("the query cannot be read, or names more than one operation: want a drumline.counter.Query")
	}
	q := &counterpb.Query{}
	if proto.Unmarshal(data, q) != nil {
		return nil, wire.Refusal("the query cannot be read: want a drumline.counter.Query")
	}
	if wire.Unknown(q.ProtoReflect()) {
		return nil, wire.Refusal("the query has a field that this version does not know")
	}
	return q, CheckQuery(q)
}

// Query implements statemachines.Machine.
func (m *Machine) Query(data []byte) ([]byte, error) {
	q, err := decodeQuery(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", statemachines.ErrInvalidQuery, err)
	}
	return proto.Marshal(m.answer(q))
}

func (m *Machine) answer(q *counterpb.Query) *counterpb.Answer {
	switch op := q.GetOp().(type) {
	case *counterpb.Query_Get:
		a := &counterpb.Answer{Group: m.groupInfo()}
		if c := m.index[op.Get.GetKey()]; c != nil && !c.deleted {
			a.Found, a.Counters = true, []*counterpb.Info{m.info(c)}
		}
		return a
	case *counterpb.Query_List:
		return m.list(op.List)
	case *counterpb.Query_Windows:
		a := &counterpb.Answer{Group: m.groupInfo()}
		if c := m.index[op.Windows.GetKey()]; c != nil && !c.deleted {
			a.Found, a.Windows = true, m.windows(c, op.Windows)
			r := index(op.Windows.GetResolution())
			a.SinceMs = m.complete(c, r) * length(r)
		}
		return a
	case *counterpb.Query_Export:
		return m.export(op.Export)
	case *counterpb.Query_Digest:
		return &counterpb.Answer{Digest: m.digest(op.Digest)}
	}
	return &counterpb.Answer{Group: m.groupInfo()}
}

// list collects a page.
func (m *Machine) list(l *counterpb.List) *counterpb.Answer {
	limit := int(or(uint64(l.GetLimit()), DefaultPage))
	a := &counterpb.Answer{}
	m.order.AscendGreaterOrEqual(&counter{key: max(l.GetPrefix(), l.GetAfter())}, func(c *counter) bool {
		if c.deleted || l.After != nil && c.key <= l.GetAfter() {
			return true
		}
		if !strings.HasPrefix(c.key, l.GetPrefix()) {
			return false
		}
		if len(a.GetCounters()) == limit {
			a.More = true
			return false
		}
		a.Counters = append(a.Counters, m.info(c))
		return true
	})
	return a
}

func (m *Machine) groupInfo() *counterpb.GroupInfo {
	g := &counterpb.GroupInfo{
		Group: m.group, Origin: m.self.message(), Version: m.version, WallMs: m.wall, Keys: uint64(len(m.index)), Remembered: uint64(m.keys.Len()),
		Revision: m.revision, Settings: m.settings, Unsealed: m.unsealed(), Forged: m.forged,
		Graves: uint64(m.graves.Len()), ForgetAtMs: m.forgetAt(),
		Regions: []*counterpb.Region{{Origin: m.self.message(), Own: true, Version: m.version, WallMs: m.wall}},
	}
	for _, p := range m.peers {
		g.Regions = append(g.Regions, &counterpb.Region{Origin: p.origin.message(), Retired: p.retired, Past: p.past, Version: p.version, WallMs: p.wall})
	}
	return g
}

// A page is merged by one command, which may have little more than a mebibyte: it ends when it
// has pageBytes, and an entry has at most so many windows, of 28 bytes at most.
const (
	pageBytes    = 256 << 10
	entryWindows = 16 << 10
)

// export collects what another group is to merge.
func (m *Machine) export(x *counterpb.Export) *counterpb.Answer {
	g := &counterpb.Merge{From: m.self.message(), Upto: m.version, Relayed: x.GetRelayed()}
	for _, p := range m.peers {
		if p.retired {
			g.Retired = append(g.Retired, p.origin.message())
		}
	}
	a := &counterpb.Answer{Export: g, Newest: m.version}
	if limit := int(or(uint64(x.GetLimit()), MaxEntries)); x.GetRelayed() {
		m.exportAll(a, x, limit)
	} else {
		m.exportOurs(a, x, limit)
	}
	return a
}

// exportOurs walks what the group changed itself after a version, oldest first, so a page
// is complete up to the last of it. Of a counter all slots are told that the group ever
// changed: the version at which one was may lie before pages that the counter, which changed
// again since, was not in.
func (m *Machine) exportOurs(a *counterpb.Answer, x *counterpb.Export, limit int) {
	var from *list.Element
	size := 0
	for e := m.changed.Back(); e != nil && counterAt(e).ours > x.GetAfter(); e = e.Prev() {
		from = e
	}
	for ; from != nil; from = from.Next() {
		if len(a.GetExport().GetEntries()) == limit || size >= pageBytes {
			a.More = true
			return
		}
		c := counterAt(from)
		a.Export.Upto = c.ours
		if e := m.entry(c, x, func(s *slot) bool { return s.ours > 0 }); e != nil {
			size += proto.Size(e)
			a.Export.Entries = append(a.Export.Entries, e)
		}
	}
	a.Export.Upto, a.Export.WallMs = m.version, m.wall
}

// exportAll walks all counters by key, and tells what others counted. If one of them cannot be
// asked, what was taken off by resets is told of all slots: they may be its resets.
func (m *Machine) exportAll(a *counterpb.Answer, x *counterpb.Export, limit int) {
	skip := map[origin]bool{{}: true} // the group's own slot has no origin
	for _, o := range x.GetSkip() {
		skip[originOf(o)] = true
	}
	gone := slices.ContainsFunc(m.peers, func(p peer) bool { return !skip[p.origin] })
	size := 0
	wanted := func(s *slot) bool {
		return s.version > x.GetAfter() && (!skip[s.origin] || gone && s.baseAdded|s.baseSubtracted > 0)
	}
	m.order.AscendGreaterOrEqual(&counter{key: x.GetAfterKey()}, func(c *counter) bool {
		switch {
		case x.AfterKey != nil && c.key == x.GetAfterKey() || c.version <= x.GetAfter():
			return true
		case len(a.GetExport().GetEntries()) == limit || size >= pageBytes:
			a.More = true
			return false
		}
		a.AfterKey = c.key
		if e := m.entry(c, x, wanted); e != nil {
			size += proto.Size(e)
			a.Export.Entries = append(a.Export.Entries, e)
		}
		return true
	})
}

func counterAt(e *list.Element) *counter {
	c, _ := e.Value.(*counter)
	return c
}

// entry is what is wanted of a counter, or nil.
func (m *Machine) entry(c *counter, x *counterpb.Export, wanted func(*slot) bool) *counterpb.Entry {
	e := &counterpb.Entry{Key: c.key, Generation: c.generation, Deleted: c.deleted}
	c.all(func(s *slot) {
		if !wanted(s) {
			return
		}
		told := m.message(s, c.generation)
		if x.GetRelayed() || s == &c.mine { // what others changed is no windows
			told.Windows = s.told(x.GetWallMs(), entryWindows/(1+len(c.others)))
		}
		e.Slots = append(e.Slots, told)
	})
	if len(e.GetSlots()) == 0 && !c.deleted && c.generation == 0 {
		return nil
	}
	return e
}
