package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// app is what clients do with groups of one kind, and how one of its keys behaves.
type app interface {
	// model is the sequential behaviour of a key.
	model() porcupine.Model
	// operate makes the n-th call of a client.
	operate(ctx context.Context, p *Part, client, n int) operation
	// last reads a key when all clients have ended.
	last(ctx context.Context, p *Part) (operation, error)
}

// Load says what the clients do.
type Load struct {
	// Groups that are written and read.
	Groups []string
	// Clients on each group; 2 by default.
	Clients int
	// Pace is the time between two operations of a client; 100 ms by default.
	Pace time.Duration
	// Deadline of each operation; 5 s by default.
	Deadline time.Duration
	// Run sets this run's keys apart from those of others.
	Run string
	// Drawings is where a failed history is drawn; empty for nowhere.
	Drawings string
}

// Workload is clients at work.
type Workload struct {
	load Load
	logs []*log
	stop context.CancelFunc
	done sync.WaitGroup
	once sync.Once
}

// Begin starts clients that write and read the keys of a store. The caller ends them
// with Finish.
func Begin(ctx context.Context, store Store, l Load) *Workload {
	return begin(ctx, &registers{store: store}, l)
}

func begin(ctx context.Context, a app, l Load) *Workload {
	l.Clients = cmp.Or(l.Clients, 2)
	l.Pace = cmp.Or(l.Pace, 100*time.Millisecond)
	l.Deadline = cmp.Or(l.Deadline, 5*time.Second)
	ctx, stop := context.WithCancel(ctx)
	w := &Workload{load: l, stop: stop}
	start := time.Now()
	for _, g := range l.Groups {
		records := newLog(g, start, a)
		w.logs = append(w.logs, records)
		for c := range l.Clients {
			w.done.Go(func() { w.client(ctx, records, c) })
		}
	}
	return w
}

// client makes call after call until the context ends.
func (w *Workload) client(ctx context.Context, records *log, id int) {
	pace := time.NewTicker(w.load.Pace)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		w.operate(records, id, n)
	}
}

// operate makes one call. It is not cut short by the end of the workload: an
// operation in flight gets its answer, so that little stays unknown.
func (w *Workload) operate(records *log, id, n int) {
	p := records.part(func(n int) string { return w.load.Run + "-" + strconv.Itoa(n) })
	ctx, cancel := context.WithTimeout(context.Background(), w.load.Deadline)
	defer cancel()
	call := time.Now()
	o := records.app.operate(ctx, p, id, n)
	o.client, o.call, o.done = id, call, time.Now()
	records.add(p, o)
}

// Gap is the longest time between two acknowledged writes of a group.
type Gap struct {
	// Group it is of.
	Group string `json:"group"`
	// Length of the gap, and when it began after the workload did.
	Length  time.Duration `json:"length"`
	Started time.Duration `json:"started"`
}

// Report sums a workload up.
type Report struct {
	// Acknowledged, Unknown and Refused count writes acknowledged, writes of unknown
	// outcome, and operations without any effect.
	Acknowledged int `json:"acknowledged"`
	Unknown      int `json:"unknown"`
	Refused      int `json:"refused"`
	// Histories that were judged.
	Histories int `json:"histories"`
	// Gaps of the groups, the longest first.
	Gaps []Gap `json:"gaps"`
}

// ErrIdle is wrapped when a group has acknowledged nothing: nothing was proven.
var ErrIdle = errors.New("no write of a group was acknowledged")

// Finish ends the clients, reads every key once more and judges all histories.
func (w *Workload) Finish(ctx context.Context) (Report, error) {
	w.once.Do(w.stop)
	w.done.Wait()
	end := time.Now()
	var r Report
	var errs []error
	for _, l := range w.logs {
		l.end(end)
		errs = append(errs, w.close(ctx, l, &r))
	}
	slices.SortFunc(r.Gaps, func(a, b Gap) int { return cmp.Or(cmp.Compare(b.Length, a.Length), cmp.Compare(a.Group, b.Group)) })
	return r, errors.Join(errs...)
}

// close reads the keys of one group a last time and judges their histories.
func (w *Workload) close(ctx context.Context, l *log, r *Report) error {
	var errs []error
	for _, p := range l.parts {
		call := time.Now()
		o, err := l.app.last(ctx, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("last read of %s %s: %w", p.Group, p.Key, err))
			continue
		}
		o.client, o.call, o.done = w.load.Clients, call, time.Now()
		l.add(p, o)
		errs = append(errs, judge(p, l.app.model(), w.load.Drawings))
		r.Histories++
	}
	if l.acked == 0 {
		errs = append(errs, fmt.Errorf("%s: %w", l.group, ErrIdle))
	}
	r.Acknowledged += l.acked
	r.Unknown += l.unknown
	r.Refused += l.refused
	r.Gaps = append(r.Gaps, Gap{Group: l.group, Length: l.longest, Started: l.gapStart})
	return errors.Join(errs...)
}

// Acknowledged counts the writes acknowledged so far.
func (w *Workload) Acknowledged() int {
	n := 0
	for _, l := range w.logs {
		l.mu.Lock()
		n += l.acked
		l.mu.Unlock()
	}
	return n
}
