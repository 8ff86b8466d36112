package fleet

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
)

// A snapshot is the magic with the format's version in its last byte, records
// (each a length as a varint and a fleetpb.SnapshotRecord), a length of zero, and
// the CRC-32C of all before it. Records come in the order header, hosts, groups,
// configurations, operations, events, each kind ascending. Version 1 has no
// configurations, and is what a record without any writes. Do not change what these
// versions mean.
const (
	magic1    = "drumflt\x01"
	magic2    = "drumflt\x02"
	maxRecord = 16 << 20
)

// errSnapshot is wrapped by whatever is wrong with a snapshot's content.
var errSnapshot = errors.New("damaged snapshot")

// snapshot is a View as the adapter wants it.
type snapshot struct{ v *View }

// WriteTo writes the record; the same record gives the same bytes.
func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	e := &encoder{sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	e.w = bufio.NewWriterSize(w, 64<<10)
	e.write([]byte(s.v.s.magic()))
	e.record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Header{Header: s.v.s.header()}})
	s.v.s.hosts.Ascend(func(h *fleetpb.Host) bool {
		return e.record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Host{Host: h}})
	})
	s.v.s.groups.Ascend(func(g *fleetpb.Group) bool {
		return e.record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Group{Group: g}})
	})
	s.v.s.configurations.Ascend(func(c *fleetpb.Configuration) bool {
		return e.record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Configuration{Configuration: c}})
	})
	s.v.s.operations.Ascend(func(o *fleetpb.Operation) bool {
		return e.record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Operation{Operation: o}})
	})
	s.v.s.events.Ascend(func(v *fleetpb.Event) bool {
		return e.record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Event{Event: v}})
	})
	e.write([]byte{0})
	e.write(binary.BigEndian.AppendUint32(nil, e.sum.Sum32()))
	if e.err == nil {
		e.err = e.w.Flush()
	}
	return e.n, e.err
}

// Close has nothing to free.
func (snapshot) Close() {}

func (s *state) magic() string {
	if s.configurations.Len() == 0 {
		return magic1
	}
	return magic2
}

func (s *state) header() *fleetpb.SnapshotHeader {
	return &fleetpb.SnapshotHeader{
		Incarnation:   s.incarnation,
		NextGroup:     s.nextGroup,
		NextReplica:   s.nextReplica,
		NextOperation: s.nextOperation,
		NextEvent:     s.nextEvent,
		Policy:        s.policy,
		Revision:      s.revision,
		Brake:         s.brake,
		Paused:        s.paused,
		Drummers:      s.drummers.All,
		NextDrummer:   s.drummers.Next,
	}
}

// encoder writes and sums until the first error.
type encoder struct {
	w   *bufio.Writer
	sum hash.Hash32
	n   int64
	err error
}

func (e *encoder) write(b []byte) {
	if e.err != nil {
		return
	}
	n, err := e.w.Write(b)
	e.n += int64(n)
	e.err = err
	e.sum.Write(b)
}

func (e *encoder) record(r *fleetpb.SnapshotRecord) bool {
	b := marshal(r)
	e.write(binary.AppendUvarint(nil, uint64(len(b))))
	e.write(b)
	return e.err == nil
}

// readSnapshot reads and checks a whole snapshot.
func readSnapshot(r io.Reader) (*state, error) {
	d := &decoder{r: bufio.NewReaderSize(r, 64<<10), sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	magic, err := d.read(len(magic1))
	if err != nil {
		return nil, err
	}
	if string(magic) != magic1 && string(magic) != magic2 {
		return nil, fmt.Errorf("%w: it begins with %q; this program reads versions 1 and 2 of the format", errSnapshot, magic)
	}
	l := &loader{s: newState()}
	for {
		record, err := d.record()
		if err != nil {
			return nil, err
		}
		if record == nil {
			break
		}
		if err := l.add(record); err != nil {
			return nil, fmt.Errorf("%w: %w", errSnapshot, err)
		}
	}
	if l.stage == 0 {
		return nil, fmt.Errorf("%w: it has no header", errSnapshot)
	}
	if want := l.s.magic(); string(magic) != want {
		return nil, fmt.Errorf("%w: it begins with %q, its content with %q", errSnapshot, magic, want)
	}
	return l.s, d.finish()
}

// decoder reads and sums.
type decoder struct {
	r   *bufio.Reader
	sum hash.Hash32
}

// read reads n bytes, and no more memory than really comes.
func (d *decoder) read(n int) ([]byte, error) {
	var b bytes.Buffer
	if _, err := io.CopyN(&b, d.r, int64(n)); err != nil {
		return nil, fmt.Errorf("%w: it ends early: %w", errSnapshot, err)
	}
	d.sum.Write(b.Bytes())
	return b.Bytes(), nil
}

// record returns the next record, nil at the end of the records.
func (d *decoder) record() (*fleetpb.SnapshotRecord, error) {
	n, err := binary.ReadUvarint(d.r)
	if err != nil {
		return nil, fmt.Errorf("%w: length of a record: %w", errSnapshot, err)
	}
	d.sum.Write(binary.AppendUvarint(nil, n))
	if n == 0 {
		return nil, nil
	}
	if n > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes", errSnapshot, n)
	}
	b, err := d.read(int(n))
	if err != nil {
		return nil, err
	}
	var r fleetpb.SnapshotRecord
	if err := proto.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return &r, nil
}

// finish checks the sum and that nothing follows.
func (d *decoder) finish() error {
	want := d.sum.Sum32()
	b, err := d.read(4)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(b) != want {
		return fmt.Errorf("%w: its checksum does not match", errSnapshot)
	}
	if _, err := d.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", errSnapshot)
	}
	return nil
}
