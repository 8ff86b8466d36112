package capacity

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/drumline/drumline/statemachines/capacity/exact"
)

// request is one capacitypb.Request. Requests are read by hand: they are most of
// what the log holds, and one is read into the same memory after the other.
type request struct {
	id      []byte // of the log entry: copied when it is kept
	bands   []band // by falling priority
	has     float64
	hasSet  bool
	token   token
	serial  uint64
	limited bool

	// wants and weight sum the bands up.
	wants  float64
	weight int64
}

// token names an answer; the zero token names none.
type token struct{ generation, n uint64 }

// refusal is an error whose text becomes part of a replicated result, so it must
// not come from a library: protobuf's texts differ from build to build.
type refusal string

// Error is the sentence.
func (r refusal) Error() string { return string(r) }

// errWire is the refusal of bytes that are no message of this version.
const errWire = refusal("the command cannot be read, or has a field that this version does not know: want a drumline.capacity.Command")

// field is one field of a message on the wire.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64 // of a varint or a fixed64
	data  []byte // of bytes
}

// next cuts the first field off a message.
func next(data []byte) (f field, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(data)
	if n < 0 {
		return f, nil, errWire
	}
	f.num, f.typ, data = num, typ, data[n:]
	switch typ {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(data)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(data)
	case protowire.BytesType:
		f.data, n = protowire.ConsumeBytes(data)
	default:
		return f, nil, errWire
	}
	if n < 0 {
		return f, nil, errWire
	}
	return f, data[n:], nil
}

// walk hands the fields of a message over, one by one.
func walk(data []byte, take func(f field) error) error {
	for len(data) > 0 {
		f, rest, err := next(data)
		if err != nil {
			return err
		}
		if err := take(f); err != nil {
			return err
		}
		data = rest
	}
	return nil
}

// is tells whether the field has that number and type.
func (f field) is(num protowire.Number, typ protowire.Type) bool { return f.num == num && f.typ == typ }

// read reads a request; what the wire allows, not yet what the machine does.
func (q *request) read(data []byte) error {
	*q = request{bands: q.bands[:0]}
	return walk(data, q.take)
}

func (q *request) take(f field) error {
	switch {
	case f.is(1, protowire.BytesType):
		q.id = f.data
	case f.is(2, protowire.BytesType):
		b, err := readBand(f.data)
		q.bands = append(q.bands, b)
		return err
	case f.is(3, protowire.Fixed64Type):
		q.has, q.hasSet = math.Float64frombits(f.value), true
	case f.is(4, protowire.BytesType):
		t, err := readToken(f.data)
		q.token = t
		return err
	case f.is(5, protowire.VarintType):
		q.serial = f.value
	case f.is(6, protowire.VarintType):
		q.limited = f.value != 0
	default:
		return errWire
	}
	return nil
}

func readBand(data []byte) (b band, err error) {
	err = walk(data, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			b.priority = int64(f.value)
		case f.is(2, protowire.VarintType):
			b.weight = int64(f.value)
		case f.is(3, protowire.Fixed64Type):
			b.wants = math.Float64frombits(f.value)
		default:
			return errWire
		}
		return nil
	})
	return b, err
}

func readToken(data []byte) (t token, err error) {
	err = walk(data, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			t.generation = f.value
		case f.is(2, protowire.VarintType):
			t.n = f.value
		default:
			return errWire
		}
		return nil
	})
	return t, err
}

// check says what is wrong with a request, or nil, and brings it into the form
// that the machine computes with; once.
func (q *request) check() error {
	if err := checkID(q.id); err != nil {
		return err
	}
	if n := len(q.bands); n == 0 || n > MaxBands {
		return refusal(fmt.Sprintf("the request has %d bands, want 1 to %d", n, MaxBands))
	}
	if q.hasSet && !amount(q.has) {
		return refusal("has is negative or not a finite number")
	}
	for _, b := range q.bands {
		switch {
		case !amount(b.wants):
			return refusal("wants is negative or not a finite number")
		case b.weight < 1 || b.weight > MaxWeight:
			return refusal(fmt.Sprintf("a band is of %d clients, want 1 to %d", b.weight, MaxWeight))
		}
	}
	return q.sum()
}

// sum puts the bands in order, adds those of one priority up, and sums all up:
// always in that order, so that the bits do not depend on how they came.
func (q *request) sum() error {
	slices.SortStableFunc(q.bands, func(a, b band) int { return cmpDown(a.priority, b.priority) })
	kept := q.bands[:0]
	for _, b := range q.bands {
		b.wants = exact.Amount(b.wants)
		if last := len(kept) - 1; last >= 0 && kept[last].priority == b.priority {
			kept[last].weight += b.weight
			kept[last].wants = exact.Amount(kept[last].wants + b.wants)
		} else {
			kept = append(kept, b)
		}
	}
	q.bands = kept
	q.wants, q.weight = sumOf(q.bands)
	if q.weight > MaxWeight {
		return refusal(fmt.Sprintf("the request is for %d clients, at most %d are allowed", q.weight, MaxWeight))
	}
	return nil
}

func sumOf(bands []band) (wants float64, weight int64) {
	for _, b := range bands {
		wants += b.wants
		weight += b.weight
	}
	return exact.Amount(wants), weight
}

func checkID(id []byte) error {
	switch {
	case len(id) == 0 || len(id) > MaxID:
		return refusal(fmt.Sprintf("the client id has %d bytes, want 1 to %d", len(id), MaxID))
	case !utf8.Valid(id):
		return refusal("the client id is not UTF-8")
	}
	return nil
}
