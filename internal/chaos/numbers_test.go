package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// diary is numbers in the words of a test: who got what, asked and had at which second.
type diary []struct {
	who        string
	n          int64
	sent, back int
}

func (d diary) numbers() *Numbers {
	s, books := NewNumbers(), map[string]*Book{}
	for _, e := range d {
		if books[e.who] == nil {
			books[e.who] = s.Book(e.who)
		}
		books[e.who].Note(e.n, s.began.Add(time.Duration(e.sent)*time.Second), s.began.Add(time.Duration(e.back)*time.Second))
	}
	return s
}

func TestNumbersAreJudged(t *testing.T) {
	tests := map[string]struct {
		d             diary
		ordered       bool
		report, fault string
	}{
		"nothing":           {fault: "nothing was proven"},
		"all is well":       {d: diary{{"a", 1, 0, 1}, {"b", 2, 0, 2}, {"a", 4, 2, 5}}, ordered: true, report: "3 numbers from 1 to 4, 1 missing; 1 to 2 a client; p99 3s, longest 3s, none at all for 3s"},
		"twice":             {d: diary{{"a", 1, 0, 1}, {"b", 1, 0, 2}}, fault: "1 was handed out twice: to a and to b"},
		"twice to one":      {d: diary{{"a", 1, 0, 1}, {"a", 1, 1, 2}}, fault: "a got 1 after 1"},
		"falling":           {d: diary{{"a", 2, 0, 1}, {"a", 1, 1, 2}}, fault: "a got 1 after 2"},
		"late and small":    {d: diary{{"a", 9, 0, 1}, {"b", 3, 2, 3}}, ordered: true, fault: "b got 3, asked for after a had 9"},
		"at the same time":  {d: diary{{"a", 9, 0, 3}, {"b", 3, 2, 4}}, ordered: true, report: "2 numbers from 3 to 9, 5 missing; 1 to 1 a client; p99 3s, longest 3s, none at all for 1s"},
		"ranges in advance": {d: diary{{"a", 9, 0, 1}, {"b", 3, 2, 3}}, report: "2 numbers from 3 to 9, 5 missing; 1 to 1 a client; p99 1s, longest 1s, none at all for 2s"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := test.d.numbers().Judge(test.ordered)
			if test.fault != "" {
				require.ErrorContains(t, err, test.fault)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.report, r.String())
		})
	}
}

func TestNumbersLieInWhatWasGranted(t *testing.T) {
	s := NewNumbers()
	b := s.Book("a")
	b.Granted(10, 5)
	b.Granted(1, 2)
	for _, n := range []int64{1, 2, 10, 14} {
		b.Note(n, s.began, s.began)
	}
	_, err := s.Judge(false)
	require.NoError(t, err)
	b.Note(15, s.began, s.began)
	_, err = s.Judge(false)
	require.ErrorContains(t, err, "a got 15, which no server granted it")
}

func TestTheHighestNumberGranted(t *testing.T) {
	s := NewNumbers()
	require.Zero(t, s.Highest())
	a, b := s.Book("a"), s.Book("b")
	a.Granted(11, 10)
	b.Granted(1, 10)
	require.EqualValues(t, 20, s.Highest())
}

func TestStalls(t *testing.T) {
	s := diary{{"a", 1, 0, 3}, {"b", 2, 4, 6}, {"a", 3, 9, 20}}.numbers()
	at := func(second int) time.Time { return s.began.Add(time.Duration(second) * time.Second) }
	require.Equal(t, 3*time.Second, s.Stall(at(2), at(5)))
	require.Zero(t, s.Stall(at(4), at(5)))
	require.Equal(t, 11*time.Second, s.Stall(at(0), at(30)))
	require.Zero(t, s.Stall(at(21), at(22)))
}

func TestNumbersAreWrittenDown(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, diary{{"client 1", 7, 0, 1}, {"client 1", 8, 1, 2}, {"b", 9, 0, 1}}.numbers().Write(dir))
	got, err := os.ReadFile(filepath.Join(dir, "0-client-1.log"))
	require.NoError(t, err)
	require.Equal(t, "Got: 7\nGot: 8\n", string(got))
	require.FileExists(t, filepath.Join(dir, "1-b.log"))
}
