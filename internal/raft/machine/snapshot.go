package machine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	sm "github.com/lni/dragonboat/v3/statemachine"

	"github.com/drumline/drumline/statemachines"
)

// # Snapshot, format version 1
//
//	8 bytes   magic "DRUMSNAP"
//	2 bytes   format version, little endian, 1
//	4 bytes   length n of the header's body, little endian
//	n bytes   body, all uvarints but the name: applied, commands, term, lead,
//	          serial, flags (1 opened, 2 sealed, 4 led, 8 loaded), clock, behaviour
//	          version, generation, length of the name, the name
//	4 bytes   CRC-32C of all the above, little endian
//	section   what Load entries have brought of a state still being loaded
//	section   the Machine's View
//
// A section is frames of (4 bytes length ≥ 1, little endian; bytes), then a length
// of 0 and 4 bytes CRC-32C of the frames' bytes. Nothing follows. The format is on
// disk: a change is a new version, and old ones stay readable.
const (
	snapshotMagic   = "DRUMSNAP"
	snapshotVersion = 1
	snapshotFixed   = len(snapshotMagic) + 2 + 4
	maxSnapshotHead = 4096
	maxFrame        = 64 << 10
)

// Bits of the header's flags.
const (
	snapOpened = 1 << iota
	snapSealed
	snapLed
	snapLoaded
)

var errBadSnapshot = errors.New("damaged snapshot")

// castagnoli is the CRC-32C table; the library keeps one.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Checksum adds b to the CRC-32C that a state's last Load entry carries.
func Checksum(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli(), b) }

// frozen is a snapshot that is still to be written.
type frozen struct {
	name    string
	life    life
	loading []byte
	view    statemachines.View
}

func (f *frozen) writeTo(w io.Writer) error {
	bw := bufio.NewWriterSize(w, maxFrame)
	if _, err := bw.Write(appendSnapshotHeader(nil, f.name, &f.life)); err != nil {
		return err
	}
	err := writeSection(bw, func(s io.Writer) error {
		_, err := s.Write(f.loading)
		return err
	})
	if err != nil {
		return err
	}
	err = writeSection(bw, func(s io.Writer) error {
		_, err := f.view.WriteTo(s)
		return err
	})
	if err != nil {
		return err
	}
	return bw.Flush()
}

func appendSnapshotHeader(b []byte, name string, l *life) []byte {
	flags := bit(snapOpened, l.opened) | bit(snapSealed, l.sealed) | bit(snapLed, l.led) | bit(snapLoaded, l.loaded)
	var body []byte
	for _, v := range []uint64{
		l.applied, l.commands, l.term, l.lead, l.serial, flags, uint64(l.clock), uint64(l.version), l.generation, uint64(len(name)),
	} {
		body = binary.AppendUvarint(body, v)
	}
	body = append(body, name...)
	b = append(b, snapshotMagic...)
	b = binary.LittleEndian.AppendUint16(b, snapshotVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func bit(b uint64, on bool) uint64 {
	if on {
		return b
	}
	return 0
}

// restored is what a snapshot held besides the Machine's state.
type restored struct {
	name    string
	life    life
	loading []byte
}

// readSnapshot reads a snapshot whole and restores m from it. It never panics,
// whatever the bytes; only the Machine's own Restore sees bytes whose CRC was not
// checked yet, and its error or ours makes both unusable.
func readSnapshot(r io.Reader, m statemachines.Machine) (restored, error) {
	br := bufio.NewReaderSize(r, maxFrame)
	s, err := readSnapshotHeader(br)
	if err != nil {
		return s, err
	}
	loading := sectionReader{r: br}
	if s.loading, err = io.ReadAll(&loading); err != nil {
		return s, fmt.Errorf("state being loaded: %w", err)
	}
	if len(s.loading) == 0 {
		s.loading = nil
	}
	state := sectionReader{r: br}
	if err := m.Restore(&state); err != nil {
		return s, fmt.Errorf("machine: %w", err)
	}
	if _, err := io.Copy(io.Discard, &state); err != nil {
		return s, fmt.Errorf("machine: %w", err)
	}
	return s, nil
}

func readSnapshotHeader(r io.Reader) (restored, error) {
	var s restored
	head := make([]byte, snapshotFixed, snapshotFixed+maxSnapshotHead+crcSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return s, fmt.Errorf("header: %w", unexpected(err))
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return s, fmt.Errorf("header: %w: wrong magic", errBadSnapshot)
	}
	if v := binary.LittleEndian.Uint16(head[len(snapshotMagic):]); v != snapshotVersion {
		return s, fmt.Errorf("header: %w: format version %d, this program knows %d", errBadSnapshot, v, snapshotVersion)
	}
	n := int(binary.LittleEndian.Uint32(head[snapshotFixed-4:]))
	if n > maxSnapshotHead {
		return s, fmt.Errorf("header: %w: %d bytes", errBadSnapshot, n)
	}
	head = head[:snapshotFixed+n+crcSize]
	if _, err := io.ReadFull(r, head[snapshotFixed:]); err != nil {
		return s, fmt.Errorf("header: %w", unexpected(err))
	}
	sum, body := head[snapshotFixed+n:], head[snapshotFixed:snapshotFixed+n]
	if crc32.Checksum(head[:snapshotFixed+n], castagnoli()) != binary.LittleEndian.Uint32(sum) {
		return s, fmt.Errorf("header: %w: checksum", errBadSnapshot)
	}
	return decodeSnapshotBody(body)
}

func decodeSnapshotBody(body []byte) (restored, error) {
	r := reader{b: body}
	var s restored
	l := &s.life
	l.applied, l.commands, l.term, l.lead = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	l.serial = r.uvarint()
	flags := r.uvarint()
	l.opened, l.sealed = flags&snapOpened != 0, flags&snapSealed != 0
	l.led, l.loaded = flags&snapLed != 0, flags&snapLoaded != 0
	clock, version := r.uvarint(), r.uvarint()
	l.generation = r.uvarint()
	s.name = string(r.bytes(r.uvarint()))
	l.clock, l.version = int64(clock), uint32(version)
	if r.bad || len(r.b) != 0 || l.clock < 0 || uint64(l.version) != version {
		return restored{}, fmt.Errorf("header: %w", errBadSnapshot)
	}
	return s, nil
}

// writeSection frames what body writes.
func writeSection(w io.Writer, body func(io.Writer) error) error {
	s := &sectionWriter{w: w}
	if err := body(s); err != nil {
		return err
	}
	return s.end()
}

type sectionWriter struct {
	w   io.Writer
	crc uint32
}

func (s *sectionWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		frame := p[:min(len(p), maxFrame)]
		if _, err := s.w.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(frame)))); err != nil {
			return written, err
		}
		if _, err := s.w.Write(frame); err != nil {
			return written, err
		}
		s.crc = crc32.Update(s.crc, castagnoli(), frame)
		written += len(frame)
		p = p[len(frame):]
	}
	return written, nil
}

func (s *sectionWriter) end() error {
	b := binary.LittleEndian.AppendUint32(nil, 0)
	_, err := s.w.Write(binary.LittleEndian.AppendUint32(b, s.crc))
	return err
}

// sectionReader reads what writeSection framed, to io.EOF if the checksum is right.
type sectionReader struct {
	r    io.Reader
	left int // of the present frame
	crc  uint32
	err  error // io.EOF after the last frame, or what is wrong
}

func (s *sectionReader) Read(p []byte) (int, error) {
	if s.err == nil && s.left == 0 {
		s.err = s.next()
	}
	if s.err != nil {
		return 0, s.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.r.Read(p[:min(len(p), s.left)])
	s.crc = crc32.Update(s.crc, castagnoli(), p[:n])
	s.left -= n
	if err != nil {
		s.err = unexpected(err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, s.err
}

func (s *sectionReader) next() error {
	var b [4]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		return unexpected(err)
	}
	s.left = int(binary.LittleEndian.Uint32(b[:]))
	if s.left > maxFrame {
		return fmt.Errorf("%w: frame of %d bytes", errBadSnapshot, s.left)
	}
	if s.left > 0 {
		return nil
	}
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		return unexpected(err)
	}
	if binary.LittleEndian.Uint32(b[:]) != s.crc {
		return fmt.Errorf("%w: checksum", errBadSnapshot)
	}
	return io.EOF
}

// unexpected makes the end of the input inside a section an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// stoppable is a writer that gives up when the replica is stopped, and counts.
type stoppable struct {
	w       io.Writer
	done    <-chan struct{}
	written uint64
}

func (s *stoppable) Write(p []byte) (int, error) {
	select {
	case <-s.done:
		return 0, sm.ErrSnapshotStopped
	default:
		n, err := s.w.Write(p)
		s.written += uint64(n)
		return n, err
	}
}

// counted is a reader that counts.
type counted struct {
	r    io.Reader
	read uint64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += uint64(n)
	return n, err
}
