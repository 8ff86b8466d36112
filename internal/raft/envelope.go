package raft

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
//	                         SessionCommand. One that does not grow is refused (codeRetry)
//	.       uvarint  stamp   lease clock in nanoseconds when the entry was sealed; 0 in a Lead
//	.       ...      body, by kind
//
// uvarint is encoding/binary's unsigned varint, at most 10 bytes. Bodies:
//
//	1 Lead            empty
//	2 Commands        uvarint n ≥ 1, then n × (uvarint length, bytes); nothing follows
//	3 SessionCommand  the command's bytes, all of the rest
//	4 Open            uvarint behaviour version ≥ 1, uvarint generation
//	5 Seal            empty
//	6 RaiseVersion    uvarint behaviour version ≥ 1
//	7 Load            uvarint offset, byte flags (1 = last), then, if last, 4 bytes
//	                  CRC-32C (little endian) of the whole state; the rest is the chunk
//	8 Checksum        reserved
//
// The numbers are in logs on disk: do not renumber, do not reuse. An entry that
// does not decode changes nothing and has the result codeBad on every replica.
const formatVersion = 1

// kind is an entry's kind; the numbers are on disk, do not renumber.
type kind uint8

const (
	kindLead           kind = 1
	kindCommands       kind = 2
	kindSessionCommand kind = 3
	kindOpen           kind = 4
	kindSeal           kind = 5
	kindRaiseVersion   kind = 6
	kindLoad           kind = 7
)

// Limits that hold a decoder's work and memory down, whatever the bytes say.
const (
	maxEntryCommands = 4096
	loadLast         = 1
	crcSize          = 4
	// maxHeader is the longest encoded header.
	maxHeader = 2 + 4*binary.MaxVarintLen64
)

var errBadEntry = errors.New("bad entry")

// entry is a decoded entry. Its slices point into the encoded bytes.
type entry struct {
	kind   kind
	term   uint64
	lead   uint64
	serial uint64
	stamp  int64
	// commands of kindCommands and, alone, of kindSessionCommand.
	commands [][]byte
	// version of kindOpen and kindRaiseVersion, generation of kindOpen.
	version    uint32
	generation uint64
	// load of kindLoad.
	load loadChunk
}

// loadChunk is a piece of a state that is loaded into a new group.
type loadChunk struct {
	offset uint64
	last   bool
	crc    uint32
	data   []byte
}

// appendHeader appends the header of e to b.
func (e *entry) appendHeader(b []byte) []byte {
	b = append(b, formatVersion, byte(e.kind))
	b = binary.AppendUvarint(b, e.term)
	b = binary.AppendUvarint(b, e.lead)
	b = binary.AppendUvarint(b, e.serial)
	return binary.AppendUvarint(b, uint64(e.stamp))
}

// encode returns the bytes of e.
func (e *entry) encode() []byte {
	b := e.appendHeader(make([]byte, 0, e.sizeBound()))
	switch e.kind {
	case kindCommands:
		b = binary.AppendUvarint(b, uint64(len(e.commands)))
		for _, c := range e.commands {
			b = binary.AppendUvarint(b, uint64(len(c)))
			b = append(b, c...)
		}
	case kindSessionCommand:
		b = append(b, e.commands[0]...)
	case kindOpen:
		b = binary.AppendUvarint(b, uint64(e.version))
		b = binary.AppendUvarint(b, e.generation)
	case kindRaiseVersion:
		b = binary.AppendUvarint(b, uint64(e.version))
	case kindLoad:
		b = e.load.append(b)
	case kindLead, kindSeal:
	}
	return b
}

func (l *loadChunk) append(b []byte) []byte {
	b = binary.AppendUvarint(b, l.offset)
	if l.last {
		b = append(b, loadLast)
		b = binary.LittleEndian.AppendUint32(b, l.crc)
	} else {
		b = append(b, 0)
	}
	return append(b, l.data...)
}

// sizeBound is at least the size of the encoded entry.
func (e *entry) sizeBound() int {
	n := maxHeader + 2*binary.MaxVarintLen64 + 1 + crcSize + len(e.load.data)
	for _, c := range e.commands {
		n += len(c) + binary.MaxVarintLen32
	}
	return n
}

// decode reads b into e, whose commands slice is reused. It accepts exactly what
// the table above says and never panics.
func (e *entry) decode(b []byte) error {
	*e = entry{commands: e.commands[:0]}
	if len(b) < 2 || b[0] != formatVersion {
		return errBadEntry
	}
	r := reader{b: b[2:]}
	e.kind = kind(b[1])
	e.term, e.lead, e.serial = r.uvarint(), r.uvarint(), r.uvarint()
	stamp := r.uvarint()
	if stamp > math.MaxInt64 {
		return errBadEntry
	}
	e.stamp = int64(stamp)
	e.decodeBody(&r)
	if r.bad || len(r.b) != 0 {
		return errBadEntry
	}
	return nil
}

func (e *entry) decodeBody(r *reader) {
	switch e.kind {
	case kindLead, kindSeal:
	case kindCommands:
		e.decodeCommands(r)
	case kindSessionCommand:
		e.commands = append(e.commands, r.rest())
	case kindOpen:
		e.version, e.generation = r.version(), r.uvarint()
	case kindRaiseVersion:
		e.version = r.version()
	case kindLoad:
		e.decodeLoad(r)
	default:
		r.bad = true
	}
}

func (e *entry) decodeCommands(r *reader) {
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
		e.commands = append(e.commands, c)
	}
}

func (e *entry) decodeLoad(r *reader) {
	e.load.offset = r.uvarint()
	switch flags := r.bytes(1); {
	case r.bad:
		return
	case flags[0] == loadLast:
		e.load.last = true
		crc := r.bytes(crcSize)
		if r.bad {
			return
		}
		e.load.crc = binary.LittleEndian.Uint32(crc)
	case flags[0] != 0:
		r.bad = true
		return
	}
	e.load.data = r.rest()
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
