package draws

import (
	"fmt"
	"io"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
)

// Runs, by the names that their rows have.
const (
	One         = "one client, unbuffered"
	Many        = "32 clients, unbuffered"
	Single      = "ranges of 1024, one reader"
	Local       = "ranges of 1024, 8 readers of one client"
	Distributed = "ranges of 1024, 8 of 32 clients read"
	Warm        = "Next while numbers are in hand"
	Channel     = "SimpleBufSeq, 1024"
	Stream      = "ranges, 256 under way on a stream"
	Unary       = "ranges, 256 unary calls under way"
	Adapted     = "leader killed, client with 5 s in hand"
	Fixed       = "leader killed, ranges of 1024 at full speed"
	// Echo is a bare gRPC echo, with as many calls under way as Unary.
	Echo = "gRPC echo, 256 calls under way"
)

// quietChannel is what one number of SimpleBufSeq took, in nanoseconds, where and when
// rr_seq's figures were measured.
const quietChannel = 70

// row is a line of the table: our run and what rr_seq did, three servers on a quiet
// machine, as shipped (in memory) unless it is said.
type row struct {
	name string
	// nanos a number, and numbers per second and p99 in milliseconds, of rr_seq; 0: none.
	nanos, perSec, p99 float64
	// target in words, and whether it is met, given our figures and rr_seq's scaled ones;
	// nil when there is none.
	target string
	met    func(s measure.Sample, o original) bool
}

// original is rr_seq's figures, scaled to the machine of this run.
type original struct{ nanos, perSec, p99, echo float64 }

func rows() []row {
	faster := func(s measure.Sample, o original) bool { return nanos(s) <= o.nanos }
	return []row{
		{name: Many, perSec: 1365, p99: 153, target: "≥ 10× numbers/s, ≤ 1/10 of p99", met: func(s measure.Sample, o original) bool {
			return s.PerSec >= 10*o.perSec && s.P99 <= o.p99/10
		}},
		// With fsync it is known from a busy machine only: the best of those runs.
		{name: One, nanos: 916_000, target: "≤ 1× with fsync", met: faster},
		{name: Single, nanos: 291, target: "≤ 1×", met: faster},
		// The quiet figures have none of it: the best of the others.
		{name: Local, nanos: 245, target: "≤ 1×", met: faster},
		{name: Distributed, nanos: 248, target: "≤ 1×", met: faster},
		{name: Warm, target: "≤ 30 ns", met: func(s measure.Sample, _ original) bool { return nanos(s) <= 30 }},
		{name: Stream, target: "≥ 50000/s", met: func(s measure.Sample, _ original) bool { return s.PerSec >= 50_000 }},
		{name: Unary, target: "≥ 0.4× the echo", met: func(s measure.Sample, o original) bool { return s.PerSec >= 0.4*o.echo }},
		{name: Echo},
		{name: Adapted, target: "≤ 50 ms", met: func(s measure.Sample, _ original) bool { return s.Max <= 50 }},
		{name: Fixed},
		{name: Channel, nanos: quietChannel},
	}
}

// Names of all runs, in the order of the table.
func Names() (all []string) {
	for _, r := range rows() {
		all = append(all, r.name)
	}
	return all
}

// nanos is what a number took.
func nanos(s measure.Sample) float64 {
	if s.PerSec == 0 {
		return 0
	}
	return 1e9 / s.PerSec
}

// Print prints the table of medians by run. rr_seq's figures are scaled by SimpleBufSeq
// of this run.
func Print(out io.Writer, medians map[string]measure.Sample) error {
	scale := nanos(medians[Channel]) / quietChannel
	t := report.New(out, "numbers", "per second", "ns each", "p50 ms", "p99 ms", "longest ms",
		"rr_seq", "ratio", "rr_seq, scaled", "ratio, scaled", "target, scaled", "met")
	for _, r := range rows() {
		s, measured := medians[r.name]
		if !measured {
			continue
		}
		o := original{nanos: r.nanos * scale, p99: r.p99 * scale, echo: medians[Echo].PerSec}
		if scale > 0 {
			o.perSec = r.perSec / scale
		}
		was, ratio := r.beside(s, original{nanos: r.nanos, perSec: r.perSec, p99: r.p99})
		now, scaled := r.beside(s, o)
		t.Row(report.Failures(s), r.name, report.Positive("%.0f", s.PerSec), each(s), latency(s.P50), latency(s.P99), latency(s.Max),
			was, ratio, now, scaled, cell(r.target), r.verdict(s, o))
	}
	if err := t.Print(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nA number of SimpleBufSeq took %.0f ns, and %d ns where rr_seq was measured: its times are multiplied by %.2f, its rates divided.\n",
		nanos(medians[Channel]), quietChannel, scale)
	return err
}

// beside is rr_seq's figure, or the echo's, and ours divided by that.
func (r row) beside(s measure.Sample, o original) (figure, ratio string) {
	switch {
	case r.name == Unary && o.echo > 0:
		return report.None, report.Ratio(s.PerSec, o.echo) + " of the echo"
	case r.perSec > 0:
		return fmt.Sprintf("%.0f/s, p99 %.0f ms", o.perSec, o.p99), fmt.Sprintf("%s, p99 %s", report.Ratio(s.PerSec, o.perSec), report.Ratio(s.P99, o.p99))
	case r.nanos > 0:
		return fmt.Sprintf("%.0f ns", o.nanos), report.Ratio(nanos(s), o.nanos)
	}
	return report.None, report.None
}

func (r row) verdict(s measure.Sample, o original) string {
	switch {
	case r.met == nil:
		return report.None
	case r.met(s, o):
		return "yes"
	}
	return "no"
}

func each(s measure.Sample) string {
	if n := nanos(s); n > 0 && n < 1000 {
		return fmt.Sprintf("%.1f", n)
	}
	return report.Positive("%.0f", nanos(s))
}

func latency(ms float64) string { return report.Positive("%.2f", ms) }

func cell(text string) string {
	if text == "" {
		return report.None
	}
	return text
}
