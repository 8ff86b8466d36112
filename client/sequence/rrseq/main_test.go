// Package rrseq_test is rr_seq's own tests and benchmarks, under their names, against a
// cluster in this process: what that client was tested for holds for this one.
//
// As there, SEQ_SERVERS is the number of servers (1, 3, 5 or 7; 3 by default), and with
// SEQ_FSYNC=1 they keep their data on disk; unlike there, they then sync it. SEQ_LONG=1 runs
// each test as long as the original's. Run them with -cpu 1,4,8, the benchmarks with
// -cpu 1,8,32.
package rrseq_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/client/clienttest"
	"github.com/drumline/drumline/client/sequence"
)

// shared is the cluster of all tests: each has names of its own in it.
type shared struct {
	testing.TB // only what is below is used
	once       sync.Once
	cluster    *clienttest.Cluster
	after      []func()
	names      atomic.Int64
}

var all shared //nolint:gochecknoglobals // a cluster takes a second to start

func (s *shared) Helper()                           {}
func (s *shared) Cleanup(f func())                  { s.after = append(s.after, f) }
func (s *shared) Context() context.Context          { return context.Background() }
func (s *shared) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (s *shared) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (s *shared) TempDir() string {
	dir, err := os.MkdirTemp("", "rrseq")
	if err != nil {
		panic(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *shared) end() {
	for i := len(s.after) - 1; i >= 0; i-- {
		s.after[i]()
	}
}

// started starts the cluster with the first test.
func (s *shared) started() *clienttest.Cluster {
	s.once.Do(func() {
		servers, err := strconv.Atoi(os.Getenv("SEQ_SERVERS"))
		if err != nil {
			servers = 3
		}
		opts := []clienttest.Option{clienttest.Hosts(servers)}
		if os.Getenv("SEQ_FSYNC") == "1" {
			opts = append(opts, clienttest.OnDisk())
		}
		s.cluster = clienttest.Start(s, opts...)
	})
	return s.cluster
}

// withCluster ends the cluster before leaks are looked for.
type withCluster struct{ m *testing.M }

func (w withCluster) Run() int {
	defer all.end()
	return w.m.Run()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(withCluster{m}) }

// newName is a name that nobody has used: a key of a family, for names are many.
func newName() string { return fmt.Sprintf("sequence/rrseq#%d", all.names.Add(1)) }

// newRRSeq is what NewRRSeq of the original makes: a client that takes ranges of bufSize.
func newRRSeq(tb testing.TB, name string, bufSize int) *sequence.Sequence {
	q := all.started().Client().Sequence(name, sequence.Buffer(bufSize))
	tb.Cleanup(func() {
		// On a busy machine the second that it has may be too short to give numbers back.
		if err := q.Close(); !errors.Is(err, context.DeadlineExceeded) {
			require.NoError(tb, err)
		}
	})
	return q
}

// lasting is how long a test reads that the original lets read for d.
func lasting(d time.Duration) time.Duration {
	if os.Getenv("SEQ_LONG") == "1" {
		return d
	}
	return d / 8
}

// read reads a stream until the time is over, at least one number.
func read(s <-chan int64, d time.Duration) (got []int64) {
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		got = append(got, <-s)
		select {
		case <-end.C:
			return got
		default:
		}
	}
}
