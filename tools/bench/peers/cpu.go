package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ownCPU is the processor time of this process: the client's side.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// processesCPU is the processor time of processes; 0 where the kernel does not tell
// it in /proc.
func processesCPU(pids []int) time.Duration {
	var total time.Duration
	for _, pid := range pids {
		total += processCPU(pid)
	}
	return total
}

// processCPU reads a process' times from the kernel; the unit there is 10 ms.
func processCPU(pid int) time.Duration {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name before it may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)   // of the kernel's making
	system, _ := strconv.ParseInt(fields[12], 10, 64) // the same
	return time.Duration(user+system) * 10 * time.Millisecond
}
