package counter

import (
	"encoding/binary"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines/wire"
)

// digest sums up the slots of an origin: what it counted and gave away. What was taken off
// by resets is left out, for every region takes off in every slot.
func (m *Machine) digest(q *counterpb.Digest) *counterpb.DigestInfo {
	of := originOf(q.GetOf())
	own := q.GetOf() == nil || of == m.self
	d := &counterpb.DigestInfo{From: q.GetOf()}
	if own {
		of, d.From, d.Upto = m.self, m.self.message(), m.version
		if newest := m.changed.Back(); newest != nil {
			d.Changed = counterAt(newest).ours
		}
	} else {
		p, _ := m.peer(of)
		d.Upto = p.version
	}
	var buf []byte
	m.order.Ascend(func(c *counter) bool {
		s := &c.mine
		if !own {
			at, there := c.find(of)
			if !there {
				return true
			}
			s = &c.others[at]
		}
		if s.added|s.subtracted > 0 {
			buf = s.appendDigest(append(buf[:0], c.key...))
			d.Sum += wire.Hash(buf)
		}
		return true
	})
	return d
}

// appendDigest appends what a digest has of a slot.
func (s *slot) appendDigest(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, 0), s.generation)
	b = binary.BigEndian.AppendUint64(b, s.added)
	b = binary.BigEndian.AppendUint64(b, s.subtracted)
	for _, g := range s.given {
		b = append(append(b, g.to.region...), 0)
		b = binary.BigEndian.AppendUint64(b, g.to.incarnation)
		b = binary.BigEndian.AppendUint64(b, g.amount)
	}
	return b
}
