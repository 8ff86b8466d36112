package snapshot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrCorrupt is wrapped by every error about the bytes of a snapshot: cut short,
// changed, of another app or of a newer version.
var ErrCorrupt = errors.New("corrupt snapshot")

// maxApp bounds the app's word while nothing of the stream is believed yet.
const maxApp = 256

// Reader reads one snapshot. It reads its stream to the end.
type Reader struct {
	in      *bufio.Reader
	sum     hash.Hash32
	version uint64
	err     error
}

// NewReader begins to read a snapshot of that app, of version newest or older.
func NewReader(r io.Reader, app string, newest uint64) (*Reader, error) {
	s := &Reader{in: bufio.NewReaderSize(r, bufferSize), sum: newHash()}
	word := make([]byte, len(magic))
	s.read(word)
	if s.err == nil && string(word) != magic {
		s.Reject("it does not begin like a snapshot")
	}
	if name := s.Bytes(maxApp); s.err == nil && string(name) != app {
		s.Reject("it is of app %q, not %q", name, app)
	}
	s.version = s.Uvarint()
	if s.err == nil && (s.version == 0 || s.version > newest) {
		s.Reject("its format version is %d, this program reads 1 to %d", s.version, newest)
	}
	return s, s.err
}

// Version of the app's format that the snapshot is written in.
func (s *Reader) Version() uint64 { return s.version }

// Err returns the first error so far; loops over counted items end by it.
func (s *Reader) Err() error { return s.err }

// Reject makes the snapshot corrupt for a reason that only the app can see.
func (s *Reader) Reject(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
	}
}

// Uvarint reads a number; 0 after an error.
func (s *Reader) Uvarint() uint64 {
	if s.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(oneByte{s})
	if err != nil {
		s.fail(err)
		return 0
	}
	return v
}

// Bytes reads a byte string of at most limit bytes; nil after an error. The
// caller owns it.
func (s *Reader) Bytes(limit int) []byte {
	size := s.Uvarint()
	if s.err != nil {
		return nil
	}
	if size > uint64(limit) { //nolint:gosec // limits are positive constants
		s.Reject("a field has %d bytes, at most %d are allowed", size, limit)
		return nil
	}
	p := make([]byte, size)
	s.read(p)
	if s.err != nil {
		return nil
	}
	return p
}

// Close reads the checksum and the end of the stream and returns the first
// error. Only after nil is what was read to be believed.
func (s *Reader) Close() error {
	want := s.sum.Sum32()
	var tail [4]byte
	s.read(tail[:])
	if s.err == nil && binary.BigEndian.Uint32(tail[:]) != want {
		s.Reject("its checksum is wrong")
	}
	if s.err == nil {
		s.end()
	}
	return s.err
}

// end refuses bytes after the checksum.
func (s *Reader) end() {
	switch _, err := s.in.ReadByte(); {
	case err == nil:
		s.Reject("bytes follow its end")
	case !errors.Is(err, io.EOF):
		s.fail(err)
	}
}

func (s *Reader) read(p []byte) {
	if s.err != nil {
		return
	}
	if _, err := io.ReadFull(s.in, p); err != nil {
		s.fail(err)
		return
	}
	_, _ = s.sum.Write(p) // a hash never fails
}

func (s *Reader) fail(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		s.Reject("it is cut short")
		return
	}
	if s.err == nil {
		s.err = fmt.Errorf("read snapshot: %w", err)
	}
}

// oneByte feeds binary.ReadUvarint and the checksum.
type oneByte struct{ s *Reader }

// ReadByte reads the next byte.
func (o oneByte) ReadByte() (byte, error) {
	b, err := o.s.in.ReadByte()
	if err != nil {
		return 0, err
	}
	_, _ = o.s.sum.Write([]byte{b}) // a hash never fails
	return b, nil
}
