package machine

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func sampleEntries() map[string]Entry {
	return map[string]Entry{
		"lead":     {Kind: KindLead, Term: 300},
		"commands": {Kind: KindCommands, Term: 2, Lead: 3, Serial: 4, Stamp: 5, Commands: [][]byte{[]byte("ab"), {}, []byte("c")}},
		"session":  {Kind: KindSessionCommand, Term: 2, Lead: 3, Stamp: 5, Commands: [][]byte{[]byte("xyz")}},
		"open":     {Kind: KindOpen, Term: 2, Lead: 3, Serial: 4, Stamp: 5, Version: 6, Generation: 7},
		"go on":    {Kind: KindOpen, Term: 2, Lead: 3, Serial: 4, Stamp: 5, Version: 6, Generation: 7, Commands: [][]byte{[]byte("first")}},
		"seal":     {Kind: KindSeal, Term: 2, Lead: 3, Serial: 4, Stamp: 5},
		"raise":    {Kind: KindRaiseVersion, Term: 2, Lead: 3, Serial: 4, Stamp: 5, Version: 6},
		"load":     {Kind: KindLoad, Term: 2, Lead: 3, Serial: 4, Stamp: 5, Load: Chunk{Offset: 128, Data: []byte("d")}},
		"last":     {Kind: KindLoad, Term: 2, Lead: 3, Serial: 4, Stamp: 5, Load: Chunk{Offset: 128, Last: true, CRC: 0x01020304, Data: []byte("d")}},
	}
}

// The bytes are in logs on disk: a test that fails here means that old logs no
// longer read, not that the test is to be changed.
func TestEntryBytesAreFixed(t *testing.T) {
	want := map[string]string{
		"lead":     "01 01 ac02 00 00 00",
		"commands": "01 02 02 03 04 05 03 02 6162 00 01 63",
		"session":  "01 03 02 03 00 05 78797a",
		"open":     "01 04 02 03 04 05 06 07",
		"go on":    "01 04 02 03 04 05 06 07 6669727374",
		"seal":     "01 05 02 03 04 05",
		"raise":    "01 06 02 03 04 05 06",
		"load":     "01 07 02 03 04 05 8001 00 64",
		"last":     "01 07 02 03 04 05 8001 01 04030201 64",
	}
	for name, e := range sampleEntries() {
		b, err := hex.DecodeString(strings.ReplaceAll(want[name], " ", ""))
		require.NoError(t, err)
		require.Equal(t, b, e.Encode(), name)
		var got Entry
		require.NoError(t, got.decode(b), name)
		require.Empty(t, cmp.Diff(e, got, cmp.AllowUnexported(Entry{}, Chunk{})), name)
	}
}

func TestEntryDecodeRefuses(t *testing.T) {
	huge := Entry{Kind: KindCommands}
	for range maxEntryCommands + 1 {
		huge.Commands = append(huge.Commands, nil)
	}
	late := Entry{Kind: KindSeal, Stamp: -1} // encodes as 2^64-1
	cases := map[string][]byte{
		"nothing":            nil,
		"another version":    {2, 1, 0, 0, 0, 0},
		"unknown kind":       {1, 99, 0, 0, 0, 0},
		"reserved kind":      {1, 8, 0, 0, 0, 0},
		"cut header":         {1, 1, 0, 0},
		"something follows":  {1, 5, 1, 1, 1, 1, 0},
		"no commands":        {1, 2, 1, 1, 1, 1, 0},
		"command cut":        {1, 2, 1, 1, 1, 1, 1, 5, 'a'},
		"too many commands":  huge.Encode(),
		"stamp overflows":    late.Encode(),
		"version 0":          {1, 6, 1, 1, 1, 1, 0},
		"version overflows":  {1, 6, 1, 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x1f},
		"unknown load flags": {1, 7, 1, 1, 1, 1, 0, 2},
		"load crc cut":       {1, 7, 1, 1, 1, 1, 0, 1, 9},
	}
	for name, b := range cases {
		var e Entry
		require.ErrorIs(t, e.decode(b), errBadEntry, name)
	}
}

func FuzzEntry(f *testing.F) {
	for _, e := range sampleEntries() {
		f.Add(e.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Entry
		if e.decode(b) != nil {
			return
		}
		if e.Stamp < 0 || len(e.Commands) > maxEntryCommands {
			t.Fatalf("decoded out of bounds: %+v", e)
		}
		again := e.Encode()
		var second Entry
		if err := second.decode(again); err != nil {
			t.Fatalf("what was encoded does not decode: %v", err)
		}
		if !bytes.Equal(second.Encode(), again) {
			t.Fatal("encoding is not stable")
		}
	})
}

// FuzzApply gives any bytes to the adapter as an entry: it must not panic, and two
// replicas must come out the same.
func FuzzApply(f *testing.F) {
	for _, e := range sampleEntries() {
		f.Add(e.Encode(), e.Encode())
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		for _, cmd := range [][]byte{x, y} {
			// Only hosts write versions, and a program that is too old must stop.
			if e := (Entry{}); e.decode(cmd) == nil && e.Version > 3 {
				return
			}
		}
		a, b := newTestMachine(), newTestMachine()
		for _, m := range []*Adapter{a.Adapter, b.Adapter} {
			applyAll(m, lead(1), open(1, 1, 2), x, y, commands(1, 1, 3, "z"))
		}
		require.Equal(t, snapshotBytes(t, a.Adapter), snapshotBytes(t, b.Adapter))
	})
}
