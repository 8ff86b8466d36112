package chaos

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// mostFaults is how many faults a judgement tells in words.
const mostFaults = 10

// Numbers is what clients of a sequence wrote down, and the checker of it. It knows
// nothing of servers: that a number was handed out twice, out of order or to somebody
// whom it was not granted is seen by what clients were told alone.
type Numbers struct {
	began time.Time

	mu    sync.Mutex
	books []*Book // guarded by mu
}

// NewNumbers is the checker of one sequence, over all its clients and their lives.
func NewNumbers() *Numbers { return &Numbers{began: time.Now()} }

// Book is what one client writes down. Note is for one goroutine, Granted for any.
type Book struct {
	who    string
	began  time.Time
	issues []issue

	mu     sync.Mutex
	grants []grant // guarded by mu
}

// issue is a number that a client got, with when it asked and when it had it.
type issue struct {
	n          int64
	sent, back time.Duration
}

// grant is a range that a server said is the client's, by ones.
type grant struct{ first, last int64 }

// Book opens one for a client; a name is for one life of a client.
func (s *Numbers) Book(who string) *Book {
	b := &Book{who: who, began: s.began}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.books = append(s.books, b)
	return b
}

// Note notes a number that the client got, in the order in which it did.
func (b *Book) Note(n int64, sent, back time.Time) {
	b.issues = append(b.issues, issue{n, sent.Sub(b.began), back.Sub(b.began)})
}

// Last is the newest number of the book; false when it is empty.
func (b *Book) Last() (int64, bool) {
	if len(b.issues) == 0 {
		return 0, false
	}
	return b.issues[len(b.issues)-1].n, true
}

// Len is how many numbers the client got.
func (b *Book) Len() int { return len(b.issues) }

// Granted notes a range of ascending numbers that a server granted the client.
func (b *Book) Granted(first int64, count uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grants = append(b.grants, grant{first, first + int64(count) - 1})
}

// Highest is the highest number that was granted to anybody so far.
func (s *Numbers) Highest() (most int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.books {
		b.mu.Lock()
		for _, g := range b.grants {
			most = max(most, g.last)
		}
		b.mu.Unlock()
	}
	return most
}

// NumbersReport is what came of a sequence.
type NumbersReport struct {
	// Count of numbers that clients got, the Least and the Greatest, and how many
	// between them nobody did.
	Count           int
	Least, Greatest int64
	Missing         uint64
	// Fewest and Most numbers that one client got.
	Fewest, Most int
	// P99 and Longest time that a client waited for a number.
	P99, Longest time.Duration
	// Silence is the longest time in which no client got a number.
	Silence time.Duration
}

// String is the report in a line for people.
func (r NumbersReport) String() string {
	return fmt.Sprintf("%d numbers from %d to %d, %d missing; %d to %d a client; p99 %s, longest %s, none at all for %s",
		r.Count, r.Least, r.Greatest, r.Missing, r.Fewest, r.Most, r.P99, r.Longest, r.Silence)
}

// Judge tells what came of a sequence, and fails unless each client's numbers ascend, all
// numbers differ, and each lies in a range that was granted to its client, where those
// were noted. ordered demands besides that a number which was had before another one was
// asked for is the smaller of both. Call it when the clients have ended.
func (s *Numbers) Judge(ordered bool) (NumbersReport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []owned
	var bad faults
	for _, b := range s.books {
		b.judge(&bad)
		for _, i := range b.issues {
			all = append(all, owned{i, b.who})
		}
	}
	if len(all) == 0 {
		return NumbersReport{}, errors.New("no client got any number: nothing was proven")
	}
	if ordered {
		inOrder(all, &bad)
	}
	slices.SortFunc(all, func(a, b owned) int { return cmp.Or(cmp.Compare(a.n, b.n), cmp.Compare(a.back, b.back)) })
	r := NumbersReport{Count: len(all), Least: all[0].n, Greatest: all[len(all)-1].n}
	for i, o := range all[1:] {
		if before := all[i]; before.n == o.n {
			bad.add("%d was handed out twice: to %s and to %s", o.n, before.who, o.who)
		} else {
			r.Missing += uint64(o.n-before.n) - 1
		}
	}
	s.times(all, &r)
	return r, bad.err()
}

// owned is a number and whose it is.
type owned struct {
	issue
	who string
}

// judge looks at one client's numbers alone.
func (b *Book) judge(bad *faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.SortFunc(b.grants, func(a, c grant) int { return cmp.Compare(a.first, c.first) })
	for i, o := range b.issues {
		if i > 0 && o.n <= b.issues[i-1].n {
			bad.add("%s got %d after %d", b.who, o.n, b.issues[i-1].n)
		}
		if len(b.grants) == 0 {
			continue
		}
		at, exact := slices.BinarySearchFunc(b.grants, o.n, func(g grant, n int64) int { return cmp.Compare(g.first, n) })
		if !exact {
			at--
		}
		if at < 0 || o.n > b.grants[at].last {
			bad.add("%s got %d, which no server granted it", b.who, o.n)
		}
	}
}

// inOrder finds numbers below one that was had before they were asked for.
func inOrder(all []owned, bad *faults) {
	bySent, byBack := slices.Clone(all), slices.Clone(all)
	slices.SortFunc(bySent, func(a, b owned) int { return cmp.Compare(a.sent, b.sent) })
	slices.SortFunc(byBack, func(a, b owned) int { return cmp.Compare(a.back, b.back) })
	var top *owned
	for _, o := range bySent {
		for len(byBack) > 0 && byBack[0].back < o.sent {
			if top == nil || byBack[0].n > top.n {
				top = &byBack[0]
			}
			byBack = byBack[1:]
		}
		if top != nil && o.n < top.n {
			bad.add("%s got %d, asked for after %s had %d", o.who, o.n, top.who, top.n)
		}
	}
}

// times fills in how long clients waited; s.mu is held.
func (s *Numbers) times(all []owned, r *NumbersReport) {
	waits, backs := make([]time.Duration, 0, len(all)), make([]time.Duration, 0, len(all))
	for _, o := range all {
		waits, backs = append(waits, o.back-o.sent), append(backs, o.back)
	}
	slices.Sort(waits)
	slices.Sort(backs)
	r.P99, r.Longest = waits[len(waits)*99/100], waits[len(waits)-1]
	for i := range backs[1:] {
		r.Silence = max(r.Silence, backs[i+1]-backs[i])
	}
	r.Fewest = len(all)
	for _, b := range s.books {
		r.Fewest, r.Most = min(r.Fewest, len(b.issues)), max(r.Most, len(b.issues))
	}
}

// Stall is the longest wait that ended between from and to.
func (s *Numbers) Stall(from, to time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begin, end := from.Sub(s.began), to.Sub(s.began)
	for _, b := range s.books {
		for _, i := range b.issues {
			if i.back >= begin && i.back <= end {
				longest = max(longest, i.back-i.sent)
			}
		}
	}
	return longest
}

// Write writes each client's numbers into a file of its own, one a line.
func (s *Numbers) Write(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, b := range s.books {
		if err := b.write(filepath.Join(dir, fmt.Sprintf("%d-%s.log", i, strings.ReplaceAll(b.who, " ", "-")))); err != nil {
			return fmt.Errorf("write the numbers of %s: %w", b.who, err)
		}
	}
	return nil
}

func (b *Book) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, i := range b.issues {
		_, _ = fmt.Fprintf(w, "Got: %d\n", i.n) // Flush reports what fails
	}
	return errors.Join(w.Flush(), f.Close())
}

// faults collects what is wrong, the first of it in words.
type faults struct {
	texts []string
	count int
}

func (f *faults) add(format string, args ...any) {
	if f.count++; len(f.texts) < mostFaults {
		f.texts = append(f.texts, fmt.Sprintf(format, args...))
	}
}

func (f *faults) err() error {
	if f.count == 0 {
		return nil
	}
	return fmt.Errorf("%d faults: %s", f.count, strings.Join(f.texts, "; "))
}
