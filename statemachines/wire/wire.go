// Package wire reads commands and writes answers the same in every program, for machines
// whose messages are protobuf. What it says becomes part of replicated results, so no
// text comes from a library, and no byte depends on which protobuf library there is.
package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxKey is the longest key of a family, in bytes.
const MaxKey = 256

// Refusal is an error whose text becomes part of a replicated result.
type Refusal string

// Error is the sentence.
func (r Refusal) Error() string { return string(r) }

// Refuse makes a Refusal.
func Refuse(format string, args ...any) Refusal { return Refusal(fmt.Sprintf(format, args...)) }

// Hash is FNV-1a, of 64 bits.
func Hash(p []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range p {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// Unknown tells whether m, or what it holds, carries fields of a newer version: to
// ignore, say, a condition would be worse than to refuse.
func Unknown(m protoreflect.Message) bool {
	found := len(m.GetUnknown()) > 0
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil || found:
		case f.IsList():
			for i := range v.List().Len() {
				found = found || Unknown(v.List().Get(i).Message())
			}
		default:
			found = Unknown(v.Message())
		}
		return !found
	})
	return found
}

// CheckKey says what is wrong with a key, or nil. The empty key is that of a group that
// holds one thing. It asks no table of what is printable: those grow, and replicas of
// different programs would disagree.
func CheckKey(key string) error {
	if len(key) > MaxKey {
		return Refuse("the key has %d bytes, at most %d are allowed", len(key), MaxKey)
	}
	if !utf8.ValidString(key) || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return Refusal("the key is no text: want UTF-8 without control characters")
	}
	return nil
}

// Message is a protobuf message that is built field by field, in the order of their
// numbers; what is zero is left out.
type Message []byte

// Uint appends a number.
func (m *Message) Uint(field protowire.Number, v uint64) {
	if v != 0 {
		*m = protowire.AppendVarint(protowire.AppendTag(*m, field, protowire.VarintType), v)
	}
}

// Fixed appends a number that always takes eight bytes.
func (m *Message) Fixed(field protowire.Number, v uint64) {
	if v != 0 {
		*m = protowire.AppendFixed64(protowire.AppendTag(*m, field, protowire.Fixed64Type), v)
	}
}

// Sint appends a signed number.
func (m *Message) Sint(field protowire.Number, v int64) { m.Uint(field, protowire.EncodeZigZag(v)) }

// Text appends a string.
func (m *Message) Text(field protowire.Number, s string) {
	if s != "" {
		*m = protowire.AppendString(protowire.AppendTag(*m, field, protowire.BytesType), s)
	}
}

// Message appends a message, an empty one too.
func (m *Message) Message(field protowire.Number, inner Message) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, field, protowire.BytesType), inner)
}
