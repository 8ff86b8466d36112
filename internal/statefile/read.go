package statefile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"google.golang.org/protobuf/proto"

	statepb "github.com/drumline/drumline/drummerpb/state"
)

// ErrDamaged is wrapped by every error that means that the state is not what was
// written: it must not be used.
var ErrDamaged = errors.New("the state is damaged")

// Reader reads a state; at io.EOF it has proved it.
type Reader struct {
	next   func() (*statepb.Piece, error)
	header *statepb.Header
	left   []byte
	sum    hash.Hash
	size   uint64
	err    error
}

// NewReader takes the header from next, which returns io.EOF behind the last piece.
func NewReader(next func() (*statepb.Piece, error)) (*Reader, error) {
	p, err := next()
	if err != nil {
		return nil, early(err)
	}
	h := p.GetHeader()
	if h == nil {
		return nil, fmt.Errorf("%w: it does not begin with a header", ErrDamaged)
	}
	r := &Reader{next: next, header: h, sum: sha256.New()}
	return r, addHeader(r.sum, h)
}

// Header of the state; proved only at the end, like the rest.
func (r *Reader) Header() *statepb.Header { return r.header }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.left) == 0 && r.err == nil {
		r.err = r.take()
	}
	if len(r.left) == 0 {
		return 0, r.err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// take takes the next piece in; io.EOF after the trailer of a whole state.
func (r *Reader) take() error {
	p, err := r.next()
	if err != nil {
		return early(err)
	}
	switch b := p.GetBody().(type) {
	case *statepb.Piece_Data:
		r.sum.Write(b.Data)
		r.size += uint64(len(b.Data))
		r.left = b.Data
		return nil
	case *statepb.Piece_Trailer:
		if b.Trailer.GetSize() != r.size || !bytes.Equal(b.Trailer.GetSha256(), r.sum.Sum(nil)) {
			return fmt.Errorf("%w: wrong checksum", ErrDamaged)
		}
		if _, err := r.next(); !errors.Is(err, io.EOF) {
			return errors.Join(fmt.Errorf("%w: something follows its end", ErrDamaged), err)
		}
		return io.EOF
	}
	return fmt.Errorf("%w: a piece is out of place", ErrDamaged)
}

// early says of the end of the input that it came too early.
func early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	return err
}

// From reads the pieces of a file.
func From(file io.Reader) (func() (*statepb.Piece, error), error) {
	r := bufio.NewReader(file)
	head := make([]byte, len(magic)+2)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, early(err)
	}
	if string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it is no file of a state", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint16(head[len(magic):]); v != version {
		return nil, fmt.Errorf("%w: format version %d, this program knows %d", ErrDamaged, v, version)
	}
	return func() (*statepb.Piece, error) { return readPiece(r) }, nil
}

func readPiece(r *bufio.Reader) (*statepb.Piece, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err // io.EOF only between two pieces
	}
	if n > maxPiece {
		return nil, fmt.Errorf("%w: a piece of %d bytes", ErrDamaged, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, early(err)
	}
	p := &statepb.Piece{}
	if err := proto.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return p, nil
}

// Copy passes pieces on to send, proving them on the way, and returns the header.
func Copy(next func() (*statepb.Piece, error), send func(*statepb.Piece) error) (*statepb.Header, error) {
	r, err := NewReader(func() (*statepb.Piece, error) {
		p, err := next()
		if err == nil {
			err = send(p)
		}
		return p, err
	})
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	return r.Header(), nil
}
