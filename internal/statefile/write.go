package statefile

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"google.golang.org/protobuf/proto"

	statepb "github.com/drumline/drumline/drummerpb/state"
)

const (
	magic   = "DRUMSTAT"
	version = 1
	// pieceSize is the data in one piece.
	pieceSize = 256 << 10
	// maxPiece bounds what a reader takes in at once.
	maxPiece = pieceSize + 64<<10
)

// Writer makes pieces of a state. Close ends it; a state without a Close is cut short.
type Writer struct {
	send func(*statepb.Piece) error
	buf  *bufio.Writer
	sum  hash.Hash
	size uint64
}

// NewWriter hands the header to send, which must not keep a piece.
func NewWriter(h *statepb.Header, send func(*statepb.Piece) error) (*Writer, error) {
	w := &Writer{send: send, sum: sha256.New()}
	w.buf = bufio.NewWriterSize(pieces{w}, pieceSize)
	if err := addHeader(w.sum, h); err != nil {
		return nil, err
	}
	return w, send(&statepb.Piece{Body: &statepb.Piece_Header{Header: h}})
}

// Write adds to the state.
func (w *Writer) Write(p []byte) (int, error) { return w.buf.Write(p) }

// Close sends what is left and the trailer.
func (w *Writer) Close() error {
	if err := w.buf.Flush(); err != nil {
		return err
	}
	return w.send(&statepb.Piece{Body: &statepb.Piece_Trailer{Trailer: &statepb.Trailer{Size: w.size, Sha256: w.sum.Sum(nil)}}})
}

// pieces sends what the buffer gives it.
type pieces struct{ w *Writer }

// Write implements io.Writer.
func (p pieces) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		part := b[done:min(done+pieceSize, len(b))]
		p.w.sum.Write(part)
		p.w.size += uint64(len(part))
		if err := p.w.send(&statepb.Piece{Body: &statepb.Piece_Data{Data: part}}); err != nil {
			return done, err
		}
		done += len(part)
	}
	return len(b), nil
}

func addHeader(sum hash.Hash, h *statepb.Header) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode the header of a state: %w", err)
	}
	sum.Write(b)
	return nil
}

// Into writes pieces to a file: it begins one and returns what sends a piece there. The
// file is complete, and can be read, once the trailer was sent.
func Into(w io.Writer) (func(*statepb.Piece) error, error) {
	if _, err := w.Write(binary.LittleEndian.AppendUint16([]byte(magic), version)); err != nil {
		return nil, err
	}
	return func(p *statepb.Piece) error {
		b, err := proto.Marshal(p)
		if err != nil {
			return fmt.Errorf("encode a piece of a state: %w", err)
		}
		_, err = w.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
		return err
	}, nil
}
