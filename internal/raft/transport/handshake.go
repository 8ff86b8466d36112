package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"

	"github.com/drumline/drumline/internal/ids"
)

// A handshake is one letter each way: the dialer's hello, the acceptor's answer.
//
//	magic          8 bytes
//	length         2 bytes, of the body
//	crc32c of body 4 bytes
//	body           protocol version (2 bytes), then the letter's fields
//
// Do not reorder fields without a new protocol version.
const (
	magic         = "DRUMRAFT"
	protocol      = 1
	maxHandshake  = 4 << 10
	handshakeHead = len(magic) + 6
)

// stream says what a connection is for.
type stream byte

const (
	messages  stream = 1 // batches and pings
	snapshot  stream = 2 // the chunks of one snapshot
	announcer stream = 3 // nothing: the dialer only says where it is
)

// identity is who a host is in this run.
type identity struct {
	host  ids.Host
	epoch uint64
	// nonce tells two processes with the same disk apart.
	nonce uint64
	// advertise is where the host can be dialed.
	advertise string
}

// hello is what the dialer says.
type hello struct {
	version    uint16
	stream     stream
	deployment string
	from       identity
	to         ids.Host
}

// answer is what the acceptor says; from is empty when it refuses strangers.
type answer struct {
	version uint16
	// refused is empty when the connection stands; else its reason, for counting, and
	// text, for people.
	refused string
	text    string
	from    identity
}

var errBadHandshake = errors.New("bad handshake")

func (h *hello) encode() []byte {
	e := letter(h.version)
	e.byte(byte(h.stream))
	e.text(h.deployment)
	e.identity(h.from)
	e.text(string(h.to))
	return e.finish()
}

func (a *answer) encode() []byte {
	e := letter(a.version)
	e.text(a.refused)
	e.text(a.text)
	e.identity(a.from)
	return e.finish()
}

func readHello(r io.Reader) (hello, error) {
	d, err := readLetter(r)
	if err != nil {
		return hello{}, err
	}
	h := hello{version: d.version}
	if h.version != protocol {
		return h, nil // what follows is in a language not spoken here
	}
	h.stream = stream(d.byte())
	h.deployment = d.text()
	h.from = d.identity()
	h.to = ids.Host(d.text())
	if err = d.end(); err != nil {
		return hello{}, err
	}
	if h.stream < messages || h.stream > announcer || !h.from.valid() {
		return hello{}, fmt.Errorf("%w: impossible values", errBadHandshake)
	}
	return h, nil
}

func readAnswer(r io.Reader) (answer, error) {
	d, err := readLetter(r)
	if err != nil {
		return answer{}, err
	}
	a := answer{version: d.version}
	if a.version != protocol {
		return a, nil
	}
	a.refused = d.text()
	a.text = d.text()
	a.from = d.identity()
	if err = d.end(); err != nil {
		return answer{}, err
	}
	if a.refused == "" && !a.from.valid() {
		return answer{}, fmt.Errorf("%w: impossible values", errBadHandshake)
	}
	return a, nil
}

// valid tells whether it can be a host that can be found again.
func (i *identity) valid() bool {
	_, port, err := net.SplitHostPort(i.advertise)
	return err == nil && port != "" && port != "0" && validHost(string(i.host))
}

// writer encodes a letter.
type writer struct{ b []byte }

func letter(version uint16) *writer {
	w := &writer{b: make([]byte, handshakeHead, 256)}
	w.b = binary.LittleEndian.AppendUint16(w.b, version)
	return w
}

func (w *writer) byte(b byte) { w.b = append(w.b, b) }

func (w *writer) text(s string) {
	s = s[:min(len(s), maxText)]
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) identity(i identity) {
	w.text(string(i.host))
	w.b = binary.LittleEndian.AppendUint64(w.b, i.epoch)
	w.b = binary.LittleEndian.AppendUint64(w.b, i.nonce)
	w.text(i.advertise)
}

func (w *writer) finish() []byte {
	body := w.b[handshakeHead:]
	copy(w.b, magic)
	binary.LittleEndian.PutUint16(w.b[len(magic):], uint16(len(body)))
	binary.LittleEndian.PutUint32(w.b[len(magic)+2:], crc32.Checksum(body, castagnoli()))
	return w.b
}

// reader decodes a letter's body; after the first problem all values are zero.
type reader struct {
	version uint16
	b       []byte
	bad     bool
}

// readLetter reads a letter. Strangers are told by the first bytes: nothing more of
// them is read.
func readLetter(r io.Reader) (*reader, error) {
	var head [handshakeHead]byte
	if _, err := io.ReadFull(r, head[:len(magic)]); err != nil {
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: not of this protocol", errBadHandshake)
	}
	if _, err := io.ReadFull(r, head[len(magic):]); err != nil {
		return nil, noEOF(err)
	}
	size := int(binary.LittleEndian.Uint16(head[len(magic):]))
	if size < 2 || size > maxHandshake {
		return nil, fmt.Errorf("%w: %d bytes", errBadHandshake, size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, noEOF(err)
	}
	if crc32.Checksum(body, castagnoli()) != binary.LittleEndian.Uint32(head[len(magic)+2:]) {
		return nil, fmt.Errorf("%w: wrong checksum", errBadHandshake)
	}
	return &reader{version: binary.LittleEndian.Uint16(body), b: body[2:]}, nil
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) text() string {
	b := r.take(2)
	if b == nil {
		return ""
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n > maxText {
		r.bad = true
		return ""
	}
	return string(r.take(n))
}

func (r *reader) identity() identity {
	return identity{host: ids.Host(r.text()), epoch: r.uint64(), nonce: r.uint64(), advertise: r.text()}
}

func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%w: wrong length", errBadHandshake)
	}
	return nil
}
