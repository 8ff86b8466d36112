package raft

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func sampleEntries() map[string]entry {
	return map[string]entry{
		"lead":     {kind: kindLead, term: 300},
		"commands": {kind: kindCommands, term: 2, lead: 3, serial: 4, stamp: 5, commands: [][]byte{[]byte("ab"), {}, []byte("c")}},
		"session":  {kind: kindSessionCommand, term: 2, lead: 3, stamp: 5, commands: [][]byte{[]byte("xyz")}},
		"open":     {kind: kindOpen, term: 2, lead: 3, serial: 4, stamp: 5, version: 6, generation: 7},
		"seal":     {kind: kindSeal, term: 2, lead: 3, serial: 4, stamp: 5},
		"raise":    {kind: kindRaiseVersion, term: 2, lead: 3, serial: 4, stamp: 5, version: 6},
		"load":     {kind: kindLoad, term: 2, lead: 3, serial: 4, stamp: 5, load: loadChunk{offset: 128, data: []byte("d")}},
		"last":     {kind: kindLoad, term: 2, lead: 3, serial: 4, stamp: 5, load: loadChunk{offset: 128, last: true, crc: 0x01020304, data: []byte("d")}},
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
		"seal":     "01 05 02 03 04 05",
		"raise":    "01 06 02 03 04 05 06",
		"load":     "01 07 02 03 04 05 8001 00 64",
		"last":     "01 07 02 03 04 05 8001 01 04030201 64",
	}
	for name, e := range sampleEntries() {
		b, err := hex.DecodeString(strings.ReplaceAll(want[name], " ", ""))
		require.NoError(t, err)
		require.Equal(t, b, e.encode(), name)
		var got entry
		require.NoError(t, got.decode(b), name)
		require.Empty(t, cmp.Diff(e, got, cmp.AllowUnexported(entry{}, loadChunk{})), name)
	}
}

func TestEntryDecodeRefuses(t *testing.T) {
	huge := entry{kind: kindCommands}
	for range maxEntryCommands + 1 {
		huge.commands = append(huge.commands, nil)
	}
	late := entry{kind: kindSeal, stamp: -1} // encodes as 2^64-1
	cases := map[string][]byte{
		"nothing":            nil,
		"another version":    {2, 1, 0, 0, 0, 0},
		"unknown kind":       {1, 99, 0, 0, 0, 0},
		"reserved kind":      {1, 8, 0, 0, 0, 0},
		"cut header":         {1, 1, 0, 0},
		"something follows":  {1, 5, 1, 1, 1, 1, 0},
		"no commands":        {1, 2, 1, 1, 1, 1, 0},
		"command cut":        {1, 2, 1, 1, 1, 1, 1, 5, 'a'},
		"too many commands":  huge.encode(),
		"stamp overflows":    late.encode(),
		"version 0":          {1, 6, 1, 1, 1, 1, 0},
		"version overflows":  {1, 6, 1, 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x1f},
		"unknown load flags": {1, 7, 1, 1, 1, 1, 0, 2},
		"load crc cut":       {1, 7, 1, 1, 1, 1, 0, 1, 9},
	}
	for name, b := range cases {
		var e entry
		require.ErrorIs(t, e.decode(b), errBadEntry, name)
	}
}

func FuzzEntry(f *testing.F) {
	for _, e := range sampleEntries() {
		f.Add(e.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e entry
		if e.decode(b) != nil {
			return
		}
		if e.stamp < 0 || len(e.commands) > maxEntryCommands {
			t.Fatalf("decoded out of bounds: %+v", e)
		}
		again := e.encode()
		var second entry
		if err := second.decode(again); err != nil {
			t.Fatalf("what was encoded does not decode: %v", err)
		}
		if !bytes.Equal(second.encode(), again) {
			t.Fatal("encoding is not stable")
		}
	})
}

// FuzzApply gives any bytes to the adapter as an entry: it must not panic, and two
// replicas must come out the same.
func FuzzApply(f *testing.F) {
	for _, e := range sampleEntries() {
		f.Add(e.encode(), e.encode())
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		for _, cmd := range [][]byte{x, y} {
			// Only hosts write versions, and a program that is too old must stop.
			if e := (entry{}); e.decode(cmd) == nil && e.version > 3 {
				return
			}
		}
		a, b := newTestMachine(), newTestMachine()
		for _, m := range []*machine{a.machine, b.machine} {
			applyAll(m, lead(1), open(1, 1, 2), x, y, commands(1, 1, 3, "z"))
		}
		require.Equal(t, snapshotBytes(t, a.machine), snapshotBytes(t, b.machine))
	})
}
