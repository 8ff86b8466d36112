package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	pb "github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/raft/transport/spare"
)

// A frame is a header and a payload; all numbers are little endian:
//
//	length of the payload  4 bytes
//	crc32c of kind+payload 4 bytes
//	kind                   1 byte
//
// Do not renumber the kinds: hosts of different versions talk to each other.
const (
	frameBatch  = 1 // a MessageBatch; dialer → acceptor
	frameChunk  = 2 // a snapshot chunk; dialer → acceptor
	framePing   = 3 // empty; dialer → acceptor
	framePong   = 4 // empty; the answer to a ping
	frameEnd    = 5 // empty; the dialer has sent the whole snapshot
	frameTaken  = 6 // empty; the acceptor has taken all chunks before the end
	headerBytes = 9
)

const (
	// maxBatch bounds a batch's payload: dragonboat packs 64 MiB of entries at most,
	// the rest is room for what stands around them.
	maxBatch = 65 << 20
	// maxChunk bounds a chunk's payload: v3 cuts snapshots in chunks of 2 MiB, their
	// metadata are small.
	maxChunk = 6 << 20
	// step is how much is read or written at once: memory follows what came in, and
	// every step that succeeds shows that the peer is alive.
	step = 256 << 10
	// keepBuffer is the largest buffer that a reader keeps for the next frame.
	keepBuffer = 1 << 20
)

var errBadFrame = errors.New("bad frame")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// payloadLimit returns the bound of a kind's payload, or false for an unknown kind.
func payloadLimit(kind byte) (int, bool) {
	switch kind {
	case frameBatch:
		return maxBatch, true
	case frameChunk:
		return maxChunk, true
	case framePing, framePong, frameEnd, frameTaken:
		return 0, true
	default:
		return 0, false
	}
}

// frame is an encoded frame on its way out.
type frame = spare.Buffer

// buffers lends frames.
type buffers struct{ spare.Pool }

func (p *buffers) clone(f *frame) *frame {
	c := p.Get(len(f.B))
	copy(c.B, f.B)
	return c
}

// encodeBatch makes a frame of the batch, which its owner may reuse at once.
func (p *buffers) encodeBatch(batch pb.MessageBatch) (*frame, error) {
	size := batch.SizeUpperLimit()
	if size > maxBatch {
		size = batch.Size()
	}
	if size > maxBatch {
		return nil, fmt.Errorf("encode batch: %d bytes are more than %d", size, maxBatch)
	}
	f := p.Get(headerBytes + size)
	n, err := batch.MarshalTo(f.B[headerBytes:])
	if err != nil {
		return nil, fmt.Errorf("encode batch: %w", err)
	}
	f.B = seal(f.B[:headerBytes+n], frameBatch)
	return f, nil
}

// encodeChunk makes a frame of the chunk.
func (p *buffers) encodeChunk(chunk pb.Chunk) (*frame, error) {
	size := chunk.Size()
	if size > maxChunk {
		return nil, fmt.Errorf("encode chunk: %d bytes are more than %d", size, maxChunk)
	}
	f := p.Get(headerBytes + size)
	n, err := chunk.MarshalTo(f.B[headerBytes:])
	if err != nil {
		return nil, fmt.Errorf("encode chunk: %w", err)
	}
	f.B = seal(f.B[:headerBytes+n], frameChunk)
	return f, nil
}

// empty returns a frame without payload.
func empty(kind byte) []byte { return seal(make([]byte, headerBytes), kind) }

// seal writes the header of a frame whose payload is in place.
func seal(b []byte, kind byte) []byte {
	b[8] = kind
	binary.LittleEndian.PutUint32(b, uint32(len(b)-headerBytes))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli()))
	return b
}

// frameReader reads frames; the payload it returns is good until the next read.
type frameReader struct {
	r io.Reader
	// each is called before every step that reads; it sets the deadline.
	each func()
	buf  []byte
}

// next reads one frame. A wrong frame is an errBadFrame, all else is the reader's.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	var head [headerBytes]byte
	f.each()
	if _, err = io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, err
	}
	kind = head[8]
	size := binary.LittleEndian.Uint32(head[:])
	limit, known := payloadLimit(kind)
	if !known || uint64(size) > uint64(limit) {
		return 0, nil, fmt.Errorf("%w: kind %d with %d bytes", errBadFrame, kind, size)
	}
	if payload, err = f.payload(int(size)); err != nil {
		return 0, nil, err
	}
	sum := crc32.Update(crc32.Checksum(head[8:], castagnoli()), castagnoli(), payload)
	if sum != binary.LittleEndian.Uint32(head[4:]) {
		return 0, nil, fmt.Errorf("%w: wrong checksum", errBadFrame)
	}
	return kind, payload, nil
}

// payload reads size bytes in steps.
func (f *frameReader) payload(size int) ([]byte, error) {
	if cap(f.buf) > keepBuffer {
		f.buf = nil
	}
	b := f.buf[:0]
	for len(b) < size {
		f.each()
		n := min(size-len(b), max(step, len(b))) // at most doubles
		b = append(b, make([]byte, n)...)
		if _, err := io.ReadFull(f.r, b[len(b)-n:]); err != nil {
			return nil, noEOF(err)
		}
	}
	f.buf = b
	return b, nil
}

// noEOF tells an end inside a frame from one between frames.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
