// Package tape is the form in which a fleet record is written down: the magic with the
// format's version in its last byte, records (each a length as a varint and a
// fleetpb.SnapshotRecord), a length of zero, and the CRC-32C of all before it. It knows
// nothing of what the records mean.
package tape

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/must"
)

// Magic numbers. Version 1 has no configurations, and is what a record without any writes.
// Do not change what these versions mean.
const (
	Magic1 = "drumflt\x01"
	Magic2 = "drumflt\x02"
)

const maxRecord = 16 << 20

// ErrDamaged is wrapped by whatever is wrong with a tape or with what is on it.
var ErrDamaged = errors.New("damaged snapshot")

func checksum() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

// Writer writes and sums until the first error, which End returns.
type Writer struct {
	w   *bufio.Writer
	sum hash.Hash32
	n   int64
	err error
}

// NewWriter begins a tape.
func NewWriter(w io.Writer, magic string) *Writer {
	t := &Writer{w: bufio.NewWriterSize(w, 64<<10), sum: checksum()}
	t.write([]byte(magic))
	return t
}

func (t *Writer) write(b []byte) {
	if t.err != nil {
		return
	}
	n, err := t.w.Write(b)
	t.n += int64(n)
	t.err = err
	t.sum.Write(b)
}

// Record writes one; false when nothing more can be written.
func (t *Writer) Record(r *fleetpb.SnapshotRecord) bool {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	must.NoError(err, "encode a message of the fleet record")
	t.write(binary.AppendUvarint(nil, uint64(len(b))))
	t.write(b)
	return t.err == nil
}

// End ends the tape and tells how many bytes it has.
func (t *Writer) End() (int64, error) {
	t.write([]byte{0})
	t.write(binary.BigEndian.AppendUint32(nil, t.sum.Sum32()))
	if t.err == nil {
		t.err = t.w.Flush()
	}
	return t.n, t.err
}

// Reader reads and sums.
type Reader struct {
	// Magic that the tape begins with: one of the above.
	Magic string

	r   *bufio.Reader
	sum hash.Hash32
}

// NewReader begins to read; an error wraps ErrDamaged.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{r: bufio.NewReaderSize(r, 64<<10), sum: checksum()}
	magic, err := t.read(len(Magic1))
	if err != nil {
		return nil, err
	}
	t.Magic = string(magic)
	if t.Magic != Magic1 && t.Magic != Magic2 {
		return nil, fmt.Errorf("%w: it begins with %q; this program reads versions 1 and 2 of the format", ErrDamaged, magic)
	}
	return t, nil
}

// read reads n bytes, and no more memory than really comes.
func (t *Reader) read(n int) ([]byte, error) {
	var b bytes.Buffer
	if _, err := io.CopyN(&b, t.r, int64(n)); err != nil {
		return nil, fmt.Errorf("%w: it ends early: %w", ErrDamaged, err)
	}
	t.sum.Write(b.Bytes())
	return b.Bytes(), nil
}

// Record returns the next record, nil at the end of the records.
func (t *Reader) Record() (*fleetpb.SnapshotRecord, error) {
	n, err := binary.ReadUvarint(t.r)
	if err != nil {
		return nil, fmt.Errorf("%w: length of a record: %w", ErrDamaged, err)
	}
	t.sum.Write(binary.AppendUvarint(nil, n))
	if n == 0 {
		return nil, nil
	}
	if n > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes", ErrDamaged, n)
	}
	b, err := t.read(int(n))
	if err != nil {
		return nil, err
	}
	var r fleetpb.SnapshotRecord
	if err := proto.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return &r, nil
}

// End checks the sum and that nothing follows.
func (t *Reader) End() error {
	want := t.sum.Sum32()
	b, err := t.read(4)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(b) != want {
		return fmt.Errorf("%w: its checksum does not match", ErrDamaged)
	}
	if _, err := t.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return nil
}
