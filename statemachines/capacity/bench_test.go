package capacity_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

// A benchmark of decisions: so many clients refresh in turn, 50 to a command, as a
// loaded host packs them; "steady" clients want what they wanted, "moving" ones
// something else each time.
func BenchmarkDecide(b *testing.B) {
	for _, a := range []capacitypb.Algorithm{none, proportional, fair, priority} {
		for _, moving := range []bool{false, true} {
			for _, n := range []int{100, 1000, 5000, 50000} {
				b.Run(fmt.Sprintf("%s/moving=%v/%d", a, moving, n), func(b *testing.B) { benchDecide(b, a, n, moving) })
			}
		}
	}
}

const perCommand = 50

func benchDecide(b *testing.B, a capacitypb.Algorithm, n int, moving bool) {
	m := capacity.New()
	now := int64(time.Second)
	results := make([]statemachines.Result, 1)
	apply := func(data []byte) {
		m.Apply([]statemachines.Command{{Index: 1, Time: now, Lead: 1, Version: 1, Data: data}}, results)
	}
	apply(encode(configure(1, define(a, float64(n)*40), 0)))
	// Two rounds of commands, made before the clock runs; the second moves the wants.
	var commands [][]byte
	for round := range 2 {
		for i := 0; i < n; i += perCommand {
			d := &capacitypb.Decide{}
			for j := i; j < i+perCommand; j++ {
				w := float64(j*7919%100) + 0.5
				if moving {
					w = float64((j+round*31)*7919%100) + 0.5
				}
				q := wants(fmt.Sprintf("client-%d", j), w)
				q.Bands[0].Priority = int64(j % 3)
				q.Has = proto.Float64(w)
				d.Requests = append(d.Requests, q)
			}
			commands = append(commands, encode(&capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: d}}))
		}
	}
	pace := int64(15*time.Second) / int64(n/perCommand)
	at := 0
	step := func() {
		apply(commands[at])
		now += pace
		at = (at + 1) % len(commands)
	}
	for range 4 * len(commands) {
		step()
	}
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		step()
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/perCommand, "cpu-ns/decision")
}

// A benchmark of very many leases that end at once: how long all of them hold up the log, in
// all and by the entry that takes longest.
func BenchmarkAMillionLeasesEnd(b *testing.B) {
	var all, longest time.Duration
	for range b.N {
		b.StopTimer()
		r := crowded(b, 1_000_000)
		r.now += time.Hour
		b.StartTimer()
		for r.summary().GetHolders() > 0 {
			began := time.Now()
			r.now++
			r.apply(decide())
			took := time.Since(began)
			all, longest = all+took, max(longest, took)
		}
	}
	b.ReportMetric(float64(all.Milliseconds())/float64(b.N), "ms/all")
	b.ReportMetric(float64(longest.Milliseconds()), "ms/longest-entry")
}

// cpuTime of the process so far: what a decision costs, also on a machine that has
// other things to do.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
