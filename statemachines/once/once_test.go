package once_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/statemachines/once"
	"github.com/drumline/drumline/statemachines/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func entry(key, made uint64) once.Entry {
	return once.Entry{Key: once.Key{Low: key}, Made: made, Dated: true, Mark: key, Value: -int64(key), Version: made}
}

func verdict(m *once.Memory, e once.Entry) once.Verdict {
	_, v := m.Find(e)
	return v
}

func TestWhatIsRemembered(t *testing.T) {
	m := once.New()
	require.Equal(t, once.Fresh, verdict(m, entry(1, 10)))
	m.Remember(entry(1, 10), 2)
	old, v := m.Find(entry(1, 10))
	require.Equal(t, once.Known, v)
	require.Equal(t, entry(1, 10), old)
	other := entry(1, 10)
	other.Mark++
	require.Equal(t, once.Conflict, verdict(m, other))
	m.Remember(entry(2, 20), 2)
	m.Remember(entry(3, 30), 2)
	require.Equal(t, once.TooOld, verdict(m, entry(1, 10)), "the oldest made room")
	require.Equal(t, once.TooOld, verdict(m, entry(4, 9)), "whatever is older may have been forgotten")
	require.Equal(t, once.Fresh, verdict(m, entry(4, 11)))
	m.Expire(20)
	require.Equal(t, 1, m.Len())
	require.Equal(t, once.TooOld, verdict(m, entry(2, 20)))
	undated := entry(5, 25)
	undated.Dated = false
	m.Remember(undated, 9)
	m.Expire(25)
	require.Equal(t, once.Fresh, verdict(m, undated), "what has no date is new again")
}

// TestNothingIsAppliedTwice: whatever falls out, a dated key is fresh once only.
func TestNothingIsAppliedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, applied := once.New(), map[uint64]int{}
		limit := rapid.Uint64Range(1, 5).Draw(t, "limit")
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			key := rapid.Uint64Range(1, 12).Draw(t, "key")
			if e := entry(key, key*3%7+1); verdict(m, e) == once.Fresh {
				applied[key]++
				m.Remember(e, limit)
			}
			if rapid.IntRange(0, 9).Draw(t, "expire") == 0 {
				m.Expire(rapid.Uint64Range(0, 3).Draw(t, "until"))
			}
			m = reload(t, m)
		}
		for key, n := range applied {
			require.Equal(t, 1, n, "key %d", key)
		}
	})
}

func reload(t require.TestingT, m *once.Memory) *once.Memory {
	write := func(m *once.Memory) []byte {
		var out bytes.Buffer
		w := snapshot.NewWriter(&out, "test", 1)
		v := m.Freeze()
		v.WriteTo(w)
		_, err := w.Close()
		require.NoError(t, err)
		return out.Bytes()
	}
	data := write(m)
	r, err := snapshot.NewReader(bytes.NewReader(data), "test", 1)
	require.NoError(t, err)
	back := once.Read(r)
	require.NoError(t, r.Close())
	require.Equal(t, data, write(back))
	return back
}

func TestAFrozenMemoryStays(t *testing.T) {
	m := once.New()
	m.Remember(entry(1, 10), 9)
	v := m.Freeze()
	m.Remember(entry(2, 20), 9)
	m.Expire(10)
	require.Equal(t, 1, v.Len())
	require.Equal(t, 1, m.Len())
}
