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
	"bufio"
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

// Writer writes one snapshot.
type Writer struct {
	out *bufio.Writer
	raw *counter
	sum hash.Hash32
	err error
	num [binary.MaxVarintLen64]byte
}

// counter counts what reached the stream, for io.WriterTo.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// NewWriter begins a snapshot of that app, in that version of its format.
func NewWriter(w io.Writer, app string, version uint64) *Writer {
	raw := &counter{w: w}
	s := &Writer{out: bufio.NewWriterSize(raw, bufferSize), raw: raw, sum: newHash()}
	s.write([]byte(magic))
	s.Bytes([]byte(app))
	s.Uvarint(version)
	return s
}

// Uvarint writes a number.
func (s *Writer) Uvarint(v uint64) { s.write(s.num[:binary.PutUvarint(s.num[:], v)]) }

// Bytes writes a byte string with its length.
func (s *Writer) Bytes(p []byte) {
	s.Uvarint(uint64(len(p)))
	s.write(p)
}

// Err returns the first error so far, so that a walk over a big state can stop.
func (s *Writer) Err() error { return s.err }

// Close ends the snapshot with its checksum. It returns the number of bytes that
// reached the stream and the first error, which is what io.WriterTo asks for.
func (s *Writer) Close() (int64, error) {
	s.write(binary.BigEndian.AppendUint32(nil, s.sum.Sum32()))
	if s.err == nil {
		s.err = s.out.Flush()
	}
	return s.raw.n, s.err
}

func (s *Writer) write(p []byte) {
	if s.err != nil {
		return
	}
	_, _ = s.sum.Write(p) // a hash never fails
	_, s.err = s.out.Write(p)
}
