package plain_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/plain"
	"github.com/drumline/drumline/statemachines/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// command draws a command for numbers.
func command(t *rapid.T) *sequencepb.Command {
	n := rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64())
	next := &sequencepb.Next{
		Key: rapid.SampledFrom([]string{"", "a", "user/0000017", "ключ"}).Draw(t, "key"), Count: n.Draw(t, "count"),
		Whole: rapid.Bool().Draw(t, "whole"), Plain: rapid.Bool().Draw(t, "plain"), Incarnation: n.Draw(t, "incarnation"),
	}
	if rapid.Bool().Draw(t, "with a floor") {
		next.Floor = proto.Int64(rapid.Int64().Draw(t, "floor"))
	}
	c := &sequencepb.Command{NowMs: n.Draw(t, "now"), Op: &sequencepb.Command_Next{Next: next}}
	if rapid.Bool().Draw(t, "with a caller") {
		c.Caller = &sequencepb.Caller{Serial: n.Draw(t, "serial"), Settled: n.Draw(t, "settled")}
	}
	if c.GetCaller() != nil && rapid.Bool().Draw(t, "with a client") {
		c.Caller.Client = &sequencepb.Client{Group: n.Draw(t, "group"), Generation: n.Draw(t, "generation"), Number: n.Draw(t, "number"), Nonce: n.Draw(t, "nonce")}
	}
	return c
}

// What is read is what protobuf reads, of one command after the other.
func TestReadsAsProtobufDoes(t *testing.T) {
	var r plain.Reader
	rapid.Check(t, func(t *rapid.T) {
		want := command(t)
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		require.NoError(t, err)
		got, mark, ok := r.Read(data)
		require.True(t, ok)
		require.True(t, proto.Equal(want, got), "%v is not %v", got, want)
		op, err := proto.Marshal(&sequencepb.Command{Op: want.GetOp()})
		require.NoError(t, err)
		require.Equal(t, wire.Hash(op), mark)
		key, client, peeked := plain.Peek(data)
		require.True(t, peeked)
		require.Equal(t, want.GetNext().GetKey(), string(key))
		require.Equal(t, want.GetCaller().GetClient().GetNumber(), client)
	})
}

// Bytes that were damaged, or drawn, are refused, or are what protobuf takes them for, with
// nothing that it does not know.
func TestNeverReadsMoreThanProtobuf(t *testing.T) {
	var r plain.Reader
	rapid.Check(t, func(t *rapid.T) {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(command(t))
		require.NoError(t, err)
		if rapid.Bool().Draw(t, "drawn") {
			data = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		}
		for range rapid.IntRange(0, 3).Draw(t, "damages") {
			if len(data) > 0 {
				data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			}
		}
		data = data[:rapid.IntRange(0, len(data)).Draw(t, "length")]
		plain.Peek(data) // is a hint, and need only come back
		got, _, ok := r.Read(data)
		if !ok {
			return
		}
		want := &sequencepb.Command{}
		if err := proto.Unmarshal(data, want); err != nil { // a key that is no text, which is for others to check
			require.Error(t, wire.CheckKey(got.GetNext().GetKey()), "%v", err)
			return
		}
		require.False(t, wire.Unknown(want.ProtoReflect()))
		require.True(t, proto.Equal(want, got), "%v is not %v", got, want)
	})
}

// What is not plain is left to protobuf.
func TestWhatIsNotPlain(t *testing.T) {
	varint := func(field protowire.Number, n uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), n)
	}
	body := func(field protowire.Number, inner ...[]byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), slices.Concat(inner...))
	}
	next := body(2)
	for what, data := range map[string][]byte{
		"nothing":                       nil,
		"a caller only":                 body(1, varint(2, 7)),
		"another operation":             body(9, varint(1, 7)),
		"two operations":                slices.Concat(next, body(9)),
		"twice the same":                slices.Concat(next, next),
		"twice a caller":                slices.Concat(body(1), next, body(1)),
		"an unknown field":              slices.Concat(next, varint(99, 1)),
		"one in the caller":             slices.Concat(body(1, varint(9, 1)), next),
		"one in the client":             slices.Concat(body(1, body(1, varint(9, 1))), next),
		"one in the wish":               body(2, varint(9, 1)),
		"a number for a caller":         slices.Concat(varint(1, 1), next),
		"a text for a time":             slices.Concat(next, body(17)),
		"a text for a count":            body(2, body(2)),
		"a number for a key":            body(2, varint(1, 1)),
		"a text for a serial":           slices.Concat(body(1, body(2)), next),
		"a number for a client":         slices.Concat(body(1, varint(1, 1)), next),
		"a text for a client's number":  slices.Concat(body(1, body(1, body(3))), next),
		"a wish's field twice":          body(2, varint(2, 1), varint(3, 1), varint(2, 1)),
		"a field of eight bytes":        slices.Concat(next, protowire.AppendFixed64(protowire.AppendTag(nil, 17, protowire.Fixed64Type), 1)),
		"a tag that is cut off":         slices.Concat(next, []byte{0x80}),
		"a number that is cut off":      slices.Concat(next, varint(17, 1<<40)[:4]),
		"a body that is cut off":        next[:1],
		"a caller's end that is cut":    slices.Concat(body(1, []byte{0x10, 0x80}), next),
		"a client's end that is cut":    slices.Concat(body(1, body(1, []byte{0x08, 0x80})), next),
		"the end of a wish that is cut": body(2, []byte{0x10, 0x80}),
	} {
		_, _, ok := new(plain.Reader).Read(data)
		require.False(t, ok, what)
	}
}

func BenchmarkRead(b *testing.B) {
	data, err := proto.Marshal(&sequencepb.Command{
		NowMs:  1_700_000_000_000,
		Caller: &sequencepb.Caller{Client: &sequencepb.Client{Group: 1000, Number: 17, Nonce: 1 << 63}, Serial: 12345, Settled: 12344},
		Op:     &sequencepb.Command_Next{Next: &sequencepb.Next{Key: "user/0000017", Count: 1024, Incarnation: 1 << 60}},
	})
	require.NoError(b, err)
	var r plain.Reader
	b.ReportAllocs()
	for b.Loop() {
		r.Read(data)
	}
}
