package sequence

import (
	"cmp"
	"container/list"
	"fmt"
	"slices"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence/answer"
)

// client is a client that was opened, with what is remembered of its commands.
type client struct {
	epoch         uint64
	number, nonce uint64
	// floor is the serial up to which nothing is remembered: the client said that it
	// needs no more, or there was no room.
	floor uint64
	// records are the commands above floor, by serial.
	records []record
	// step is the machine's count of commands at the newest of this client: the order in
	// which clients were silent.
	step uint64
	// place is its place among the silent.
	place *list.Element
}

// record is one command that was applied, and what is held by it.
type record struct {
	serial uint64
	// mark is of the command's bytes: the same serial with another command is a mistake.
	mark   uint64
	answer []byte
	value  uint64
	held   holding
}

// holding is a range in a client's hands: count numbers from index on. The rest of what
// was granted was given back, or said to be unused.
type holding struct {
	key              string
	hash             uint64 // of the key, in this Machine's index
	incarnation, era uint64
	index            uint64
	granted, count   uint64
}

// once applies a client's command, unless it was applied before.
func (m *Machine) once(cmd *sequencepb.Command, mark uint64) statemachines.Result {
	caller := cmd.GetCaller()
	if refused := m.stranger(caller.GetClient()); refused != nil {
		return answer.Encode(refused)
	}
	c := m.ownClient(caller.GetClient().GetNumber())
	m.steps++
	c.step = m.steps
	m.silent.MoveToBack(c.place)
	at, known := c.find(caller.GetSerial())
	if known {
		return c.records[at].again(mark)
	}
	if caller.GetSerial() <= c.floor {
		return answer.Encode(refuse(sequencepb.Outcome_OUTCOME_TOO_OLD,
			"serial %d is not remembered any more: whether it was applied is not known, go on with a new one", caller.GetSerial()))
	}
	m.release(c, caller.GetSettled())
	if cmd.GetClose() != nil {
		m.forget(c)
		return answer.Encode(ok())
	}
	r, held := m.do(cmd, c)
	done := answer.Encode(r)
	if r.GetOutcome() != sequencepb.Outcome_OUTCOME_INVALID {
		m.remember(c, record{serial: caller.GetSerial(), mark: mark, answer: done.Data, value: done.Value, held: held})
		done.Data = slices.Clone(done.Data) // the caller owns its copy
	}
	return done
}

// find is where the record of a serial is, or would be.
func (c *client) find(serial uint64) (int, bool) {
	return slices.BinarySearchFunc(c.records, serial, func(r record, serial uint64) int { return cmp.Compare(r.serial, serial) })
}

// again is the answer that was given before.
func (r *record) again(mark uint64) statemachines.Result {
	if r.mark != mark {
		return answer.Encode(refuse(sequencepb.Outcome_OUTCOME_CONFLICT,
			"serial %d was another command: number commands one by one, and send the same bytes again", r.serial))
	}
	return statemachines.Result{Value: r.value, Data: slices.Clone(r.answer)}
}

// stranger refuses a client that is none of this group and life.
func (m *Machine) stranger(c *sequencepb.Client) *sequencepb.Result {
	const unknown = sequencepb.Outcome_OUTCOME_UNKNOWN_CLIENT
	switch {
	case c.GetGroup() != m.group:
		return refuse(unknown, "the client was opened by group %d, and this is group %d: open it here", c.GetGroup(), m.group)
	case c.GetGeneration() != m.generation:
		return refuse(unknown, "the client is of generation %d, and the group of %d since it was recovered: open it anew", c.GetGeneration(), m.generation)
	case m.clients[c.GetNumber()] == nil || m.clients[c.GetNumber()].nonce != c.GetNonce():
		return refuse(unknown, "client %d is not known: it was closed, or silent for too long; open it anew", c.GetNumber())
	}
	return nil
}

// open makes a client known, at the cost of the one that was silent for longest.
func (m *Machine) open(nonce uint64) *sequencepb.Result {
	if len(m.clients) >= MaxClients {
		m.forget(m.longestSilent())
	}
	m.opened++
	m.steps++
	c := &client{epoch: m.epoch, number: m.opened, nonce: nonce, step: m.steps}
	m.admit(c)
	r := ok()
	r.Client = &sequencepb.Client{Group: m.group, Generation: m.generation, Number: c.number, Nonce: nonce}
	return r
}

// admit takes a client in as the one that spoke last.
func (m *Machine) admit(c *client) {
	c.place = m.silent.PushBack(c.number)
	m.clients[c.number] = c
	m.numbers.ReplaceOrInsert(c)
}

func (m *Machine) longestSilent() *client {
	number, _ := m.silent.Front().Value.(uint64)
	return m.clients[number]
}

// ownClient is a known client, made safe to change.
func (m *Machine) ownClient(number uint64) *client {
	c := m.clients[number]
	if c.epoch == m.epoch {
		return c
	}
	fresh := *c
	fresh.epoch, fresh.records = m.epoch, slices.Clone(c.records)
	m.clients[number] = &fresh
	m.numbers.ReplaceOrInsert(&fresh)
	return &fresh
}

// forget lets a client go; what it held is lost.
func (m *Machine) forget(c *client) {
	for i := range c.records {
		m.lose(&c.records[i])
	}
	m.answers -= uint64(len(c.records))
	m.silent.Remove(c.place)
	delete(m.clients, c.number)
	m.numbers.Delete(c)
}

// release forgets what the client has settled.
func (m *Machine) release(c *client, settled uint64) {
	n := 0
	for n < len(c.records) && c.records[n].serial <= settled {
		m.used(&c.records[n].held)
		c.records[n] = record{} // the slice's start stays in memory for a while
		n++
	}
	if n == len(c.records) {
		c.records = c.records[:0] // there is room for the next one
	} else {
		c.records = c.records[n:]
	}
	c.floor = max(c.floor, settled)
	m.answers -= uint64(n)
}

// remember keeps a record, and makes room for it.
func (m *Machine) remember(c *client, r record) {
	at, _ := c.find(r.serial)
	c.records = slices.Insert(c.records, at, r)
	m.answers++
	if len(c.records) > MaxAnswers {
		oldest := &c.records[0]
		m.lose(oldest)
		c.floor = oldest.serial
		*oldest = record{}
		c.records = c.records[1:]
		m.answers--
	}
	for m.answers > MaxAnswersInAll {
		m.forget(m.longestSilent()) // never c: it spoke last, and holds far less than all
	}
}

// used takes a range out of the account: its numbers were used.
func (m *Machine) used(h *holding) {
	if x := m.holder(h); x.exists() {
		x.ranges--
		x.outstanding -= h.count
	}
}

// lose takes a range out of the account: nobody will say what became of it.
func (m *Machine) lose(r *record) {
	if x := m.holder(&r.held); x.exists() {
		x.ranges--
		x.outstanding -= r.held.count
		x.lost += r.held.count
	}
}

// holder is the series that a range is of, made safe to change; none when the record is
// none of a range, or its sequence is gone.
func (m *Machine) holder(h *holding) series {
	if h.granted == 0 {
		return series{}
	}
	x := m.one(m.book.Find(h.hash, h.key))
	if !x.exists() || x.incarnation != h.incarnation {
		return series{}
	}
	return m.own(x)
}

// giveBack takes the unused tail of a range back; CheckCommand sees to it that there is a client.
func (m *Machine) giveBack(g *sequencepb.GiveBack, c *client) *sequencepb.Result {
	at, known := c.find(g.GetSerial())
	if !known || c.records[at].held.granted == 0 || c.records[at].held.key != g.GetKey() {
		return refuse(sequencepb.Outcome_OUTCOME_NOT_HELD, "the client holds no range of serial %d", g.GetSerial())
	}
	h := &c.records[at].held
	if g.GetUnused() > h.granted {
		return refuse(sequencepb.Outcome_OUTCOME_INVALID, "the range had %d numbers, so %d cannot be unused", h.granted, g.GetUnused())
	}
	x := m.holder(h)
	if !x.exists() {
		return refuse(sequencepb.Outcome_OUTCOME_NOT_FOUND, "sequence %q was dropped", g.GetKey())
	}
	return x.takeBack(h, g.GetUnused())
}

// takeBack moves the series back over the tail of a range, if nothing came after it.
// Doing it twice takes nothing more: unused is of the range as it was granted.
func (x series) takeBack(h *holding, unused uint64) *sequencepb.Result {
	keep := h.granted - unused
	if keep >= h.count {
		return ok()
	}
	tail := h.count - keep
	last := h.era == x.era && h.index+h.count == x.next
	h.count = keep
	x.outstanding -= tail
	if !last {
		x.unused += tail
		return refuse(sequencepb.Outcome_OUTCOME_NOT_LAST, "numbers were handed out since: the %d unused ones are a gap", tail)
	}
	x.next -= tail
	x.issued -= tail
	x.returned += tail
	x.bucket.Refund(x.quota, tail)
	r := ok()
	r.Returned = tail
	return r
}

// refuse is an answer that changed nothing.
func refuse(o sequencepb.Outcome, format string, args ...any) *sequencepb.Result {
	return &sequencepb.Result{Outcome: o, Detail: fmt.Sprintf(format, args...)}
}

func ok() *sequencepb.Result { return &sequencepb.Result{Outcome: sequencepb.Outcome_OUTCOME_OK} }
