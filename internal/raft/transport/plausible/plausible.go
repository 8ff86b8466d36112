// Package plausible looks through what comes from the network before it is decoded:
// dragonboat's decoder makes room for every message and entry that is announced.
package plausible

import "encoding/binary"

// What honest encodings have.
const (
	minMessage   = 48 // an empty pb.Message; its fields are always written
	minEntry     = 5  // an entry's term and index are never 0
	fieldMessage = 1  // of pb.MessageBatch
	fieldEntry   = 11 // of pb.Message
)

// Batch tells whether all messages and entries of an encoded pb.MessageBatch have at least
// the size that an honest one has. It makes nothing of what it looks through.
func Batch(payload []byte) bool {
	return fields(payload, func(field uint64, message []byte) bool {
		if field != fieldMessage {
			return true
		}
		return len(message) >= minMessage && fields(message, func(inner uint64, entry []byte) bool {
			return inner != fieldEntry || len(entry) >= minEntry
		})
	})
}

// fields calls f with every field of bytes; it is false when f is, or when the
// encoding is wrong.
func fields(b []byte, f func(field uint64, value []byte) bool) bool {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return false
		}
		b = b[n:]
		value, n := binary.Uvarint(b)
		if n <= 0 {
			return false
		}
		b = b[n:]
		switch tag & 7 {
		case 0: // a number: its value is read
		case 2:
			if value > uint64(len(b)) || !f(tag>>3, b[:value]) {
				return false
			}
			b = b[value:]
		default: // raftpb has no other kind
			return false
		}
	}
	return true
}
