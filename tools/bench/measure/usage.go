package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a subject has used since it began.
type Usage struct {
	// CPU is processor time of all its processes, callers included.
	CPU time.Duration
	// Allocs are objects that its servers allocated, CallerAllocs those of a process
	// that only calls.
	Allocs, CallerAllocs uint64
}

// Since is what was used after that.
func (u Usage) Since(before Usage) Usage {
	return Usage{CPU: u.CPU - before.CPU, Allocs: u.Allocs - before.Allocs, CallerAllocs: u.CallerAllocs - before.CallerAllocs}
}

// OwnUsage is that of this process, where servers and callers are one.
func OwnUsage() Usage { return Usage{CPU: OwnCPU(), Allocs: OwnAllocs()} }

// Memory is what a process holds after two garbage collections, in millions of bytes.
type Memory struct {
	// Heap in use, by the Go runtime's own count; dragonboat's log store is in it.
	Heap float64 `json:"heap_mb,omitempty"`
	// Live is what objects take of it; the rest is holes between them.
	Live float64 `json:"live_mb,omitempty"`
	// Resident memory, by the kernel's.
	Resident float64 `json:"resident_mb,omitempty"`
}

// OwnMemory collects the garbage and looks: twice, because what pools and finalizers hold
// goes at the second collection only. A process that is left alone has both within four minutes.
func OwnMemory() Memory {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Memory{Heap: float64(m.HeapInuse) / 1e6, Live: float64(m.HeapAlloc) / 1e6, Resident: ProcessResident(os.Getpid())}
}

// ProcessResident reads a process' resident memory from the kernel, in millions of bytes.
func ProcessResident(pid int) float64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64) // of the kernel's making
	return float64(pages) * float64(os.Getpagesize()) / 1e6
}

// OwnCPU is the processor time of this process.
func OwnCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// OwnAllocs counts the objects that this process has allocated. It does not stop
// the world, as runtime.ReadMemStats would.
func OwnAllocs() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}}
	metrics.Read(s)
	return s[0].Value.Uint64() + s[1].Value.Uint64()
}

// ProcessCPU reads a process' times from the kernel; the unit there is 10 ms.
func ProcessCPU(pid int) time.Duration {
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

// MetricsPatience bounds the answer of a process' metrics page.
const MetricsPatience = 5 * time.Second

// ProcessMetric reads one number of the metrics page at a process' HTTP address.
func ProcessMetric(addr, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), MetricsPatience)
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

// ProcessStatus reads the status page at a process' HTTP address into into.
func ProcessStatus(ctx context.Context, addr string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, MetricsPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/debug/status", nil)
	if err != nil {
		return fmt.Errorf("read the status: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("read the status: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the status of %s: %w", addr, err)
	}
	return nil
}
