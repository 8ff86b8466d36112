package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a subject has used since it began.
type usage struct {
	// cpu is processor time of all its processes, callers included.
	cpu time.Duration
	// allocs are objects that its servers allocated, callerAllocs those of a process
	// that only calls.
	allocs, callerAllocs uint64
}

func (u usage) since(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, allocs: u.allocs - before.allocs, callerAllocs: u.callerAllocs - before.callerAllocs}
}

// ownUsage is that of this process, where servers and callers are one.
func ownUsage() usage { return usage{cpu: ownCPU(), allocs: ownAllocs()} }

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ownAllocs counts the objects that this process has allocated. It does not stop
// the world, as runtime.ReadMemStats would.
func ownAllocs() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}}
	metrics.Read(s)
	return s[0].Value.Uint64() + s[1].Value.Uint64()
}

// processCPU reads a process' times from the kernel; the unit there is 10 ms.
func processCPU(pid int) time.Duration {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)   // of the kernel's making
	system, _ := strconv.ParseInt(fields[12], 10, 64) // the same
	return time.Duration(user+system) * 10 * time.Millisecond
}

// metricsPatience bounds the answer of a process' metrics page.
const metricsPatience = 5 * time.Second

// processMetric reads one number of the metrics page at a process' HTTP address.
func processMetric(addr, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("the metrics of %s have no %s", addr, name)
}
