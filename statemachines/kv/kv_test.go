package kv_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/kv"
)

func apply(t require.TestingT, m *kv.Machine, data []byte) *kvpb.Result {
	results := make([]statemachines.Result, 1)
	m.Apply([]statemachines.Command{{Index: 1, Version: 1, Data: data}}, results)
	r := &kvpb.Result{}
	require.NoError(t, proto.Unmarshal(results[0].Data, r))
	require.Equal(t, r.GetRevision(), results[0].Value)
	return r
}

func query(t require.TestingT, m *kv.Machine, data []byte) *kvpb.Answer {
	out, err := m.Query(data)
	require.NoError(t, err)
	a := &kvpb.Answer{}
	require.NoError(t, proto.Unmarshal(out, a))
	return a
}

func TestCommands(t *testing.T) {
	key, m := []byte("k"), kv.New()
	steps := []struct {
		name     string
		command  []byte
		outcome  kvpb.Outcome
		revision uint64
		value    string // after the step; "-" for no key
	}{
		{"delete what is not there", remove(key), kvpb.Outcome_OUTCOME_NOT_FOUND, 0, "-"},
		{"compare with a key that is not there", cas(key, 7, []byte("x")), kvpb.Outcome_OUTCOME_CONFLICT, 0, "-"},
		{"create by compare-and-set", cas(key, 0, []byte("a")), kvpb.Outcome_OUTCOME_OK, 1, "a"},
		{"create again", cas(key, 0, []byte("b")), kvpb.Outcome_OUTCOME_CONFLICT, 1, "a"},
		{"overwrite", put(key, []byte("c")), kvpb.Outcome_OUTCOME_OK, 2, "c"},
		{"compare with an old revision", cas(key, 1, []byte("d")), kvpb.Outcome_OUTCOME_CONFLICT, 2, "c"},
		{"compare with the revision", cas(key, 2, []byte("d")), kvpb.Outcome_OUTCOME_OK, 3, "d"},
		{"another key counts too", put([]byte("other"), nil), kvpb.Outcome_OUTCOME_OK, 4, "d"},
		{"delete", remove(key), kvpb.Outcome_OUTCOME_OK, 5, "-"},
		{"delete again", remove(key), kvpb.Outcome_OUTCOME_NOT_FOUND, 0, "-"},
		{"an empty value is a value", put(key, nil), kvpb.Outcome_OUTCOME_OK, 6, ""},
	}
	for _, s := range steps {
		r := apply(t, m, s.command)
		require.Equal(t, s.outcome, r.GetOutcome(), s.name)
		require.Equal(t, s.revision, r.GetRevision(), s.name)
		require.Empty(t, r.GetDetail(), s.name)
		a := query(t, m, get(key))
		require.Equal(t, s.value != "-", a.GetFound(), s.name)
		if a.GetFound() {
			require.Equal(t, s.value, string(a.GetEntries()[0].GetValue()), s.name)
		}
	}
}

func TestRefusedCommands(t *testing.T) {
	big := make([]byte, kv.MaxValue+1)
	long := make([]byte, kv.MaxKey+1)
	newer := append(encode(&kvpb.Put{Key: []byte("k")}), 0x98, 0x06, 0x01) // field 99
	cases := []struct {
		name, sentence string
		data           []byte
	}{
		{"empty", "names 0 operations", nil},
		{"two operations", "names 2 operations", append(put([]byte("a"), nil), remove([]byte("a"))...)},
		{"one operation twice", "names 2 operations", append(put([]byte("a"), nil), put([]byte("b"), nil)...)},
		{"unknown operation", "does not know", []byte{0x9a, 0x06, 0x00}},
		{"unknown field", "does not know", append([]byte{0x0a, byte(len(newer))}, newer...)},
		{"cut short", "cannot be read", put([]byte("abc"), []byte("def"))[:5]},
		{"not a message inside", "cannot be read", []byte{0x0a, 0x02, 0xff, 0xff}},
		{"wrong wire type", "does not know", []byte{0x08, 0x01}},
		{"no key", "the key has 0 bytes", put(nil, []byte("v"))},
		{"long key", "the key has 4097 bytes", put(long, nil)},
		{"long key deleted", "the key has 4097 bytes", remove(long)},
		{"no key compared", "the key has 0 bytes", cas(nil, 0, nil)},
		{"big value", "the value has 1048577 bytes", put([]byte("k"), big)},
		{"big value compared", "the value has 1048577 bytes", cas([]byte("k"), 0, big)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := kv.New()
			apply(t, m, put([]byte("k"), []byte("v")))
			r := apply(t, m, c.data)
			require.Equal(t, kvpb.Outcome_OUTCOME_INVALID, r.GetOutcome())
			require.Zero(t, r.GetRevision())
			require.Contains(t, r.GetDetail(), c.sentence)
			require.EqualValues(t, 2, apply(t, m, put([]byte("k"), nil)).GetRevision(), "a refused command changes nothing")
		})
	}
}

func TestLimitsAreInclusive(t *testing.T) {
	m, key := kv.New(), make([]byte, kv.MaxKey)
	r := apply(t, m, put(key, make([]byte, kv.MaxValue)))
	require.Equal(t, kvpb.Outcome_OUTCOME_OK, r.GetOutcome(), r.GetDetail())
	require.True(t, query(t, m, get(key)).GetFound())
}

func TestRefusedQueries(t *testing.T) {
	long := make([]byte, kv.MaxKey+1)
	cases := map[string][]byte{
		"names 0 operations":      nil,
		"names 2 operations":      append(get([]byte("a")), list(&kvpb.List{})...),
		"does not know":           {0x9a, 0x06, 0x00},
		"cannot be read":          {0x0a, 0x02, 0xff, 0xff},
		"the key has 0 bytes":     get(nil),
		"the limit is 1001":       list(&kvpb.List{Limit: 1001}),
		"after has 4097 bytes":    list(&kvpb.List{After: long}),
		"or after has 4097 bytes": list(&kvpb.List{Prefix: long}),
	}
	for sentence, data := range cases {
		_, err := kv.New().Query(data)
		require.ErrorIs(t, err, statemachines.ErrInvalidQuery)
		require.ErrorContains(t, err, sentence)
	}
}

func keys(a *kvpb.Answer) string {
	var out []string
	for _, e := range a.GetEntries() {
		out = append(out, string(e.GetKey()))
	}
	return strings.Join(out, " ")
}

func TestList(t *testing.T) {
	m := kv.New()
	for _, k := range []string{"b/2", "a", "b/1", "b", "c", "b/3"} {
		apply(t, m, put([]byte(k), []byte("v"+k)))
	}
	cases := []struct {
		list *kvpb.List
		want string
		more bool
	}{
		{&kvpb.List{}, "a b b/1 b/2 b/3 c", false},
		{&kvpb.List{Prefix: []byte("b/")}, "b/1 b/2 b/3", false},
		{&kvpb.List{Prefix: []byte("b/"), Limit: 2}, "b/1 b/2", true},
		{&kvpb.List{Prefix: []byte("b/"), Limit: 3}, "b/1 b/2 b/3", false},
		{&kvpb.List{Prefix: []byte("b/"), After: []byte("b/2")}, "b/3", false},
		{&kvpb.List{Prefix: []byte("b/"), After: []byte("a")}, "b/1 b/2 b/3", false},
		{&kvpb.List{Prefix: []byte("b/"), After: []byte("c")}, "", false},
		{&kvpb.List{After: []byte("b")}, "b/1 b/2 b/3 c", false},
		{&kvpb.List{Prefix: []byte("x")}, "", false},
	}
	for _, c := range cases {
		a := query(t, m, list(c.list))
		require.Equal(t, c.want, keys(a), "%v", c.list)
		require.Equal(t, c.more, a.GetMore(), "%v", c.list)
	}
	e := query(t, m, list(&kvpb.List{Prefix: []byte("b/1")})).GetEntries()[0]
	require.Equal(t, "vb/1", string(e.GetValue()))
	require.EqualValues(t, 3, e.GetRevision())
	require.Nil(t, query(t, m, list(&kvpb.List{KeysOnly: true})).GetEntries()[0].GetValue())
}

func TestListIsBoundedInBytesAndPagesThroughEverything(t *testing.T) {
	m := kv.New()
	for i := range 7 {
		apply(t, m, put(fmt.Appendf(nil, "k%d", i), make([]byte, kv.MaxValue)))
	}
	var seen, after []byte
	for more := true; more; {
		data, err := m.Query(list(&kvpb.List{After: after, Limit: kv.MaxPage}))
		require.NoError(t, err)
		require.LessOrEqual(t, len(data), kv.MaxPageBytes)
		a := &kvpb.Answer{}
		require.NoError(t, proto.Unmarshal(data, a))
		require.NotEmpty(t, a.GetEntries())
		for _, e := range a.GetEntries() {
			seen, after = append(seen, e.GetKey()...), e.GetKey()
		}
		more = a.GetMore()
	}
	require.Equal(t, "k0k1k2k3k4k5k6", string(seen))
}

func TestDefaultPage(t *testing.T) {
	m := kv.New()
	for i := range kv.DefaultPage + 1 {
		apply(t, m, put(fmt.Appendf(nil, "%04d", i), nil))
	}
	a := query(t, m, list(&kvpb.List{}))
	require.Len(t, a.GetEntries(), kv.DefaultPage)
	require.True(t, a.GetMore())
}

// The machine against a map: the simplest thing that could be meant.
func TestLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, model, revision := kv.New(), map[string]*kvpb.Entry{}, uint64(0)
		store := func(key, value string) {
			revision++
			model[key] = &kvpb.Entry{Key: []byte(key), Value: []byte(value), Revision: revision}
		}
		key := rapid.SampledFrom([]string{"a", "b", "c"})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.String().Draw(t, "value")
				store(k, v)
				require.Equal(t, revision, apply(t, m, put([]byte(k), []byte(v))).GetRevision())
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if apply(t, m, remove([]byte(k))).GetOutcome() == kvpb.Outcome_OUTCOME_OK {
					require.Contains(t, model, k)
					revision++
				}
				delete(model, k)
			},
			"cas": func(t *rapid.T) {
				k, expected := key.Draw(t, "key"), rapid.Uint64Range(0, revision).Draw(t, "expected")
				equal := model[k].GetRevision() == expected
				r := apply(t, m, cas([]byte(k), expected, []byte("x")))
				require.Equal(t, equal, r.GetOutcome() == kvpb.Outcome_OUTCOME_OK)
				if equal {
					store(k, "x")
				}
				require.Equal(t, model[k].GetRevision(), r.GetRevision())
			},
			"": func(t *rapid.T) {
				a := query(t, m, list(&kvpb.List{}))
				require.Len(t, a.GetEntries(), len(model))
				for _, e := range a.GetEntries() {
					require.True(t, proto.Equal(model[string(e.GetKey())], e))
				}
			},
		})
	})
}

// Two histories that end in the same state leave the same snapshot.
func TestSnapshotsHaveNoHistory(t *testing.T) {
	straight, winding := kv.New(), kv.New()
	for range 3 {
		apply(t, straight, put([]byte("k"), []byte("old")))
	}
	apply(t, straight, put([]byte("a"), []byte("1")))
	apply(t, winding, put([]byte("x"), []byte("y")))
	apply(t, winding, remove([]byte("x")))
	apply(t, winding, put([]byte("k"), []byte("old")))
	apply(t, winding, []byte("nonsense"))
	apply(t, winding, put([]byte("a"), []byte("1")))
	require.Equal(t, snapshotOf(t, straight), snapshotOf(t, winding))
}

func snapshotOf(t require.TestingT, m *kv.Machine) []byte {
	v := m.Snapshot()
	defer v.Close()
	var out bytes.Buffer
	_, err := v.WriteTo(&out)
	require.NoError(t, err)
	return out.Bytes()
}

func FuzzCommand(f *testing.F) {
	f.Add(put([]byte("k"), []byte("v")))
	f.Add(cas([]byte("k"), 1, []byte("w")))
	f.Add(remove([]byte("k")))
	f.Add([]byte{0x9a, 0x06, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := kv.New()
		apply(t, m, put([]byte("k"), []byte("v")))
		before := snapshotOf(t, m)
		r := apply(t, m, data)
		require.NotEqual(t, kvpb.Outcome_OUTCOME_UNSPECIFIED, r.GetOutcome())
		require.Equal(t, r.GetOutcome() == kvpb.Outcome_OUTCOME_INVALID, r.GetDetail() != "")
		if r.GetOutcome() != kvpb.Outcome_OUTCOME_OK {
			require.Equal(t, before, snapshotOf(t, m))
		}
		require.NoError(t, kv.New().Restore(bytes.NewReader(snapshotOf(t, m))))
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(get([]byte("k")))
	f.Add(list(&kvpb.List{Prefix: []byte("k"), Limit: 3}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := kv.New()
		apply(t, m, put([]byte("k"), []byte("v")))
		if _, err := m.Query(data); err != nil {
			require.ErrorIs(t, err, statemachines.ErrInvalidQuery)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	m := kv.New()
	apply(f, m, put([]byte("k"), []byte("v")))
	f.Add(snapshotOf(f, m))
	f.Add(snapshotOf(f, kv.New()))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := kv.New()
		if m.Restore(bytes.NewReader(data)) == nil {
			require.Equal(t, data, snapshotOf(t, m), "what is accepted is canonical")
		}
	})
}
