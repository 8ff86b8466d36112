package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckKey(t *testing.T) {
	for key, good := range map[string]bool{
		"": true, "a/b": true, "ключ": true, strings.Repeat("k", wire.MaxKey): true,
		strings.Repeat("k", wire.MaxKey+1): false, "\xff": false, "a\nb": false, "\x7f": false,
	} {
		require.Equal(t, good, wire.CheckKey(key) == nil, "%q", key)
	}
}

// TestUnknown: a field of a newer version is noticed wherever it is, in lists too.
func TestUnknown(t *testing.T) {
	more := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	parse := func(m proto.Message, data []byte) proto.Message {
		require.NoError(t, proto.Unmarshal(data, m))
		return m
	}
	slot := &counterpb.Slot{Added: 1}
	merge := &counterpb.Merge{Entries: []*counterpb.Entry{{Key: "a"}, {Slots: []*counterpb.Slot{slot}}}}
	require.False(t, wire.Unknown(merge.ProtoReflect()))
	parse(slot, more)
	require.True(t, wire.Unknown(merge.ProtoReflect()))
	require.True(t, wire.Unknown(parse(&counterpb.Command{}, more).ProtoReflect()))
}

// TestMessage: the bytes are those of protobuf.
func TestMessage(t *testing.T) {
	var token, m wire.Message
	token.Fixed(1, 7)
	token.Uint(2, 9)
	m.Uint(1, 1)
	m.Text(2, "why")
	m.Sint(3, -5)
	m.Message(4, token)
	want := &counterpb.Result{Outcome: counterpb.Outcome_OUTCOME_OK, Detail: "why", Value: -5, Token: &counterpb.Token{Incarnation: 7, Version: 9}}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	require.NoError(t, err)
	require.Equal(t, data, []byte(m))
	require.Equal(t, uint64(0xaf63dc4c8601ec8c), wire.Hash([]byte("a")))
}
