package machine

import (
	"encoding/binary"
	"errors"
	"math"
)

// # Entry envelope, format version 1
//
// Every entry that this project writes into a group's log is, byte for byte:
//
//	offset  size     field
//	0       1        format version, 1
//	1       1        kind
//	2       uvarint  term    of the Raft leadership that proposes it
//	.       uvarint  lead    log index of the Lead entry that began that leadership; 0 in a Lead
//	.       uvarint  serial  number of this entry in the leadership, growing but with gaps; 0 in a Lead and in a
//	                         SessionCommand. One that does not grow is refused (CodeRetry)
//	.       uvarint  stamp   lease clock in nanoseconds when the entry was sealed; 0 in a Lead
//	.       ...      body, by kind
//
// uvarint is encoding/binary's unsigned varint, at most 10 bytes. Bodies:
//
//	1 Lead            empty
//	2 Commands        uvarint n ≥ 1, then n × (uvarint length, bytes); nothing follows
//	3 SessionCommand  the command's bytes, all of the rest
//	4 Open            uvarint behaviour version ≥ 1, uvarint generation; the rest, unless empty, is a
//	                  command for a Machine whose state was loaded
//	5 Seal            empty
//	6 RaiseVersion    uvarint behaviour version ≥ 1
//	7 Load            uvarint offset, byte flags (1 = last), then, if last, 4 bytes
//	                  CRC-32C (little endian) of the whole state; the rest is the chunk
//	8 Checksum        reserved
//
// The numbers are in logs on disk: do not renumber, do not reuse. An entry that
// does not decode changes nothing and has the result CodeBad on every replica.
const formatVersion = 1

// Kind is an entry's kind; the numbers are on disk, do not renumber.
type Kind uint8

// Kinds of entries.
const (
	KindLead           Kind = 1
	KindCommands       Kind = 2
	KindSessionCommand Kind = 3
	KindOpen           Kind = 4
	KindSeal           Kind = 5
	KindRaiseVersion   Kind = 6
	KindLoad           Kind = 7
)

// Limits that hold a decoder's work and memory down, whatever the bytes say.
const (
	maxEntryCommands = 4096
	loadLast         = 1
	crcSize          = 4
	// maxHeader is the longest encoded header.
	maxHeader = 2 + 4*binary.MaxVarintLen64
)

var errBadEntry = errors.New("bad Entry")

// Entry is an entry, to be encoded or decoded; then its slices point into the
// encoded bytes.
type Entry struct {
	Kind Kind
	// Term and Lead name the leadership, Serial the entry in it.
	Term   uint64
	Lead   uint64
	Serial uint64
	// Stamp is the lease clock when the entry was sealed.
	Stamp int64
	// Commands of KindCommands and, alone, of KindSessionCommand; of KindOpen, none or one
	// that a Machine is given as soon as it was told that it lives again. To encode, Packed may
	// hold Count commands instead, each as AppendCommand made it.
	Commands [][]byte
	Packed   []byte
	Count    int
	// Version of KindOpen and KindRaiseVersion, Generation of KindOpen.
	Version    uint32
	Generation uint64
	// Load of KindLoad.
	Load Chunk
}

// Chunk is a piece of a state that is loaded into a new group.
type Chunk struct {
	// Offset is where in the state Data is; Last marks the end and CRC checks the
	// whole.
	Offset uint64
	Last   bool
	CRC    uint32
	Data   []byte
}

// appendHeader appends the header of e to b.
func (e *Entry) appendHeader(b []byte) []byte {
	b = append(b, formatVersion, byte(e.Kind))
	b = binary.AppendUvarint(b, e.Term)
	b = binary.AppendUvarint(b, e.Lead)
	b = binary.AppendUvarint(b, e.Serial)
	return binary.AppendUvarint(b, uint64(e.Stamp))
}

// AppendCommand appends a command to b as a KindCommands entry has it.
func AppendCommand(b, cmd []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(cmd))), cmd...)
}

// Encode returns the bytes of e.
func (e *Entry) Encode() []byte {
	return e.AppendTo(make([]byte, 0, e.sizeBound()))
}

// AppendTo appends the bytes of e to b.
func (e *Entry) AppendTo(b []byte) []byte {
	b = e.appendHeader(b)
	switch e.Kind {
	case KindCommands:
		b = binary.AppendUvarint(b, uint64(len(e.Commands)+e.Count))
		for _, c := range e.Commands {
			b = AppendCommand(b, c)
		}
		b = append(b, e.Packed...)
	case KindSessionCommand:
		b = append(b, e.Commands[0]...)
	case KindOpen:
		b = binary.AppendUvarint(b, uint64(e.Version))
		b = binary.AppendUvarint(b, e.Generation)
		if len(e.Commands) > 0 {
			b = append(b, e.Commands[0]...)
		}
	case KindRaiseVersion:
		b = binary.AppendUvarint(b, uint64(e.Version))
	case KindLoad:
		b = e.Load.append(b)
	case KindLead, KindSeal:
	}
	return b
}

func (l *Chunk) append(b []byte) []byte {
	b = binary.AppendUvarint(b, l.Offset)
	if l.Last {
		b = append(b, loadLast)
		b = binary.LittleEndian.AppendUint32(b, l.CRC)
	} else {
		b = append(b, 0)
	}
	return append(b, l.Data...)
}

// sizeBound is at least the size of the encoded entry.
func (e *Entry) sizeBound() int {
	n := maxHeader + 2*binary.MaxVarintLen64 + 1 + crcSize + len(e.Load.Data) + len(e.Packed)
	for _, c := range e.Commands {
		n += len(c) + binary.MaxVarintLen32
	}
	return n
}

// decode reads b into e, whose commands slice is reused. It accepts exactly what
// the table above says and never panics.
func (e *Entry) decode(b []byte) error {
	*e = Entry{Commands: e.Commands[:0]}
	if len(b) < 2 || b[0] != formatVersion {
		return errBadEntry
	}
	r := reader{b: b[2:]}
	e.Kind = Kind(b[1])
	e.Term, e.Lead, e.Serial = r.uvarint(), r.uvarint(), r.uvarint()
	stamp := r.uvarint()
	if stamp > math.MaxInt64 {
		return errBadEntry
	}
	e.Stamp = int64(stamp)
	e.decodeBody(&r)
	if r.bad || len(r.b) != 0 {
		return errBadEntry
	}
	return nil
}

func (e *Entry) decodeBody(r *reader) {
	switch e.Kind {
	case KindLead, KindSeal:
	case KindCommands:
		e.decodeCommands(r)
	case KindSessionCommand:
		e.Commands = append(e.Commands, r.rest())
	case KindOpen:
		e.Version, e.Generation = r.version(), r.uvarint()
		if first := r.rest(); len(first) > 0 {
			e.Commands = append(e.Commands, first)
		}
	case KindRaiseVersion:
		e.Version = r.version()
	case KindLoad:
		e.decodeLoad(r)
	default:
		r.bad = true
	}
}

func (e *Entry) decodeCommands(r *reader) {
	n := r.uvarint()
	if n == 0 || n > maxEntryCommands {
		r.bad = true
		return
	}
	for range n {
		c := r.bytes(r.uvarint())
		if r.bad {
			return
		}
		e.Commands = append(e.Commands, c)
	}
}

func (e *Entry) decodeLoad(r *reader) {
	e.Load.Offset = r.uvarint()
	switch flags := r.bytes(1); {
	case r.bad:
		return
	case flags[0] == loadLast:
		e.Load.Last = true
		crc := r.bytes(crcSize)
		if r.bad {
			return
		}
		e.Load.CRC = binary.LittleEndian.Uint32(crc)
	case flags[0] != 0:
		r.bad = true
		return
	}
	e.Load.Data = r.rest()
}

// reader reads fields off a slice; after the first that does not fit, bad is set
// and everything reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// version reads a behaviour version: at least 1, and no more than fits.
func (r *reader) version() uint32 {
	v := r.uvarint()
	if v == 0 || v > math.MaxUint32 {
		r.bad = true
		return 0
	}
	return uint32(v)
}

func (r *reader) bytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) rest() []byte { return r.bytes(uint64(len(r.b))) }
