// Package snapshot is the stream format that Machines write their state in, so
// that each of them is versioned, checked against corruption and bounded in
// memory without writing that anew.
//
// A snapshot is a magic word, the version of the app's format, the app's own
// fields (numbers and byte strings) and a CRC-32C of all of it. It holds nothing
// but what the app puts in: the same state gives the same bytes.
//
//	func (v view) WriteTo(w io.Writer) (int64, error) {
//		s := snapshot.NewWriter(w, "board", 1)
//		s.Uvarint(uint64(len(v.names)))
//		for _, n := range v.names {
//			s.Bytes([]byte(n))
//		}
//		return s.Close()
//	}
//
// Both Writer and Reader remember their first error: an app reads or writes its
// fields straight through and looks at what Close returns. A Reader must not be
// believed before Close has returned nil, for only then is the checksum known to
// be right; values read before are bounded, never trusted.
package snapshot

import (
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
)

// magic begins every snapshot; the app's own word follows it.
const magic = "drumline-snapshot\n"

// bufferSize is that of the buffers between fields and streams.
const bufferSize = 64 << 10

func newHash() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

// Writer writes one snapshot. Fields are gathered and pass the checksum and the stream a
// buffer at a time: a state may have millions of numbers of a byte each.
type Writer struct {
	out io.Writer
	buf []byte
	// n is how many bytes reached the stream.
	n   int64
	sum hash.Hash32
	err error
}

// NewWriter begins a snapshot of that app, in that version of its format.
func NewWriter(w io.Writer, app string, version uint64) *Writer {
	s := &Writer{out: w, buf: make([]byte, 0, bufferSize), sum: newHash()}
	s.buf = append(s.buf, magic...)
	s.Bytes([]byte(app))
	s.Uvarint(version)
	return s
}

// Uvarint writes a number.
func (s *Writer) Uvarint(v uint64) {
	s.room(binary.MaxVarintLen64)
	s.buf = binary.AppendUvarint(s.buf, v)
}

// Bytes writes a byte string with its length.
func (s *Writer) Bytes(p []byte) {
	s.Uvarint(uint64(len(p)))
	for s.room(len(p)); len(p) > cap(s.buf)-len(s.buf); s.flush() {
		fits := cap(s.buf) - len(s.buf)
		s.buf, p = append(s.buf, p[:fits]...), p[fits:]
	}
	s.buf = append(s.buf, p...)
}

// Err returns the first error so far, so that a walk over a big state can stop.
func (s *Writer) Err() error { return s.err }

// Close ends the snapshot with its checksum. It returns the number of bytes that
// reached the stream and the first error, which is what io.WriterTo asks for.
func (s *Writer) Close() (int64, error) {
	s.flush()
	s.buf = binary.BigEndian.AppendUint32(s.buf, s.sum.Sum32())
	s.flush()
	return s.n, s.err
}

// room makes room for n more bytes, or as many as there can be.
func (s *Writer) room(n int) {
	if len(s.buf)+n > cap(s.buf) {
		s.flush()
	}
}

// flush sends what was gathered. After an error it is only forgotten.
func (s *Writer) flush() {
	if s.err == nil {
		_, _ = s.sum.Write(s.buf) // a hash never fails
		var n int
		n, s.err = s.out.Write(s.buf)
		s.n += int64(n)
	}
	s.buf = s.buf[:0]
}
