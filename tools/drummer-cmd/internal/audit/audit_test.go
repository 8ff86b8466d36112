package audit_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/audit"
)

func logs(files ...string) fstest.MapFS {
	dir := fstest.MapFS{}
	for i, f := range files {
		dir[fmt.Sprintf("client-%d.log", i+1)] = &fstest.MapFile{Data: []byte(f)}
	}
	return dir
}

func TestDisjointLogs(t *testing.T) {
	r, err := audit.Read(logs("Got: 1\nGot: 2\n\nGot: 5\n", `{"first": 6, "count": 4}`+"\n", "3\n4\n", "12\n"))
	require.NoError(t, err)
	require.Equal(t, audit.Report{Files: 4, Numbers: 10, Least: 1, Greatest: 12, Missing: 2}, r)
}

func TestDuplicatesAreNamed(t *testing.T) {
	r, err := audit.Read(logs("1\n2\n3\n9\n", `{"first": 2, "count": 2}`))
	require.NoError(t, err)
	require.EqualValues(t, 2, r.Duplicates)
	require.Equal(t, []string{"2 to 3: in the run from client-1.log:1 and again in that from client-2.log:1"}, r.Findings)
}

func TestOrder(t *testing.T) {
	r, err := audit.Read(logs("1\n3\n2\n", "-1\n-4\n-7\n", `{"first":100,"step":-10,"count":3}`))
	require.NoError(t, err)
	require.EqualValues(t, 1, r.Disordered)
	require.Equal(t, []string{"client-1.log:3: 2 comes after 3"}, r.Findings)
	require.Zero(t, r.Duplicates)
	require.EqualValues(t, 9, r.Numbers)
}

func TestNothing(t *testing.T) {
	r, err := audit.Read(logs(""))
	require.NoError(t, err)
	require.Equal(t, audit.Report{Files: 1}, r)
}

func TestWhatIsNoLog(t *testing.T) {
	for _, text := range []string{"Got: x", `{"first": 1}`, `{"first": 1, "step": 0, "count": 2}`, `{`, `{"first": 9223372036854775807, "count": 2}`, `{"first":1,"step":2,"count":10000001}`} {
		_, err := audit.Read(logs("1\n" + text + "\n"))
		require.ErrorContains(t, err, "client-1.log:2: ", text)
	}
}

// Against a count in a map.
func TestLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := make([]strings.Builder, 3)
		times, total := map[int64]int{}, 0
		for range rapid.IntRange(0, 40).Draw(t, "lines") {
			i := rapid.IntRange(0, 2).Draw(t, "file")
			first, count := rapid.Int64Range(-50, 50).Draw(t, "first"), rapid.Int64Range(1, 6).Draw(t, "count")
			step := rapid.Int64Range(-3, 3).Filter(func(s int64) bool { return s != 0 }).Draw(t, "step")
			fmt.Fprintf(&files[i], `{"first":%d,"step":%d,"count":%d}`+"\n", first, step, count)
			for k := range count {
				times[first+k*step]++
				total++
			}
		}
		r, err := audit.Read(logs(files[0].String(), files[1].String(), files[2].String()))
		require.NoError(t, err)
		require.EqualValues(t, total, r.Numbers)
		require.Equal(t, len(times) == total, r.Duplicates == 0)
		if total > 0 {
			require.EqualValues(t, r.Greatest-r.Least+1-int64(len(times)), r.Missing)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var f strings.Builder
	n := int64(0)
	for range 100_000 {
		n += 1 + rand.Int64N(2)
		fmt.Fprintf(&f, "Got: %d\n", n)
	}
	dir := logs(f.String())
	for b.Loop() {
		if _, err := audit.Read(dir); err != nil {
			b.Fatal(err)
		}
	}
}
