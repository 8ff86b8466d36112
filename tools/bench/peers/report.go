package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is all that was measured; the JSON output is this.
type report struct {
	// Etcd is its version.
	Etcd string `json:"etcd"`
	// Sync is how long the disk took for a write of 4 KiB and its fsync, in milliseconds: the median.
	Sync float64 `json:"fsync_ms"`
	// EtcdIdle and DrumlineIdle are percent of a core: what the servers of each side use
	// while nobody calls them, and so take from the other's runs.
	EtcdIdle     float64 `json:"etcd_idle_cpu_percent"`
	DrumlineIdle float64 `json:"drumline_idle_cpu_percent"`
	// Medians has one entry for each cell, Samples one for each of its runs.
	Medians []sample `json:"medians"`
	Samples []sample `json:"samples"`
}

// syncTime asks the disk of dir.
func syncTime(dir string) (float64, error) {
	const tries, block = 64, 4096
	file, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, fmt.Errorf("measure the disk: %w", err)
	}
	defer func() { _ = file.Close() }() // its content is of no use
	took := make([]time.Duration, 0, tries)
	for range tries {
		began := time.Now()
		if _, err := file.Write(make([]byte, block)); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		if err := file.Sync(); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return ms(quantile(took, 0.5)), nil
}

// idleTime is how long the idle servers are watched.
const idleTime = 3 * time.Second

// rest watches the idle servers of both sides.
func (r *report) rest(ctx context.Context, etcd, drumline []int) error {
	began, a, b := time.Now(), processesCPU(etcd), processesCPU(drumline)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleTime):
	}
	percent := func(d time.Duration) float64 { return 100 * float64(d) / float64(time.Since(began)) }
	r.EtcdIdle, r.DrumlineIdle = percent(processesCPU(etcd)-a), percent(processesCPU(drumline)-b)
	return nil
}

// print writes the table in Markdown.
func (r *report) print(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("| operation | of | called | groups | callers | op/s | ÷ etcd | p50 ms | p99 ms | ÷ etcd | CPU µs/op, servers | client |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, op := range []string{"put", "propose", "read"} {
		yardstick := r.etcd(op)
		for _, s := range r.Medians {
			if s.Op == op {
				b.WriteString(row(s, yardstick))
			}
		}
	}
	fmt.Fprintf(&b, "\netcd %s. A write of 4 KiB and its fsync took %.2f ms on this disk. "+
		"Idle, the servers of etcd used %.1f %% of a core, those of drumline %.1f %%.\n", r.Etcd, r.Sync, r.EtcdIdle, r.DrumlineIdle)
	_, err := w.Write(b.Bytes())
	return err
}

// etcd is the cell of etcd beside which an operation of ours stands: a proposal is a
// put to it.
func (r *report) etcd(op string) sample {
	if op == "propose" {
		op = "put"
	}
	i := slices.IndexFunc(r.Medians, func(s sample) bool { return s.System == "etcd" && s.Op == op })
	if i < 0 {
		return sample{}
	}
	return r.Medians[i]
}

func row(s, etcd sample) string {
	groups, how := "", s.How
	if s.Groups > 0 {
		groups = strconv.Itoa(s.Groups)
	}
	if s.Batch > 1 {
		how += " by " + strconv.Itoa(s.Batch)
	}
	fields := []string{
		s.Op, s.System, how, groups, strconv.Itoa(s.Callers), fmt.Sprintf("%.0f", s.PerSec), ratio(s.PerSec, etcd.PerSec),
		fmt.Sprintf("%.2f", s.P50), fmt.Sprintf("%.2f", s.P99), ratio(s.P99, etcd.P99),
		fmt.Sprintf("%.1f", s.ServerCPU), fmt.Sprintf("%.1f", s.ClientCPU),
	}
	text := "| " + strings.Join(fields, " | ") + " |"
	if s.Failed > 0 { // what makes the row doubtful
		text += fmt.Sprintf(" %d failed, last: %s", s.Failed, s.Error)
	}
	return text + "\n"
}

func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}
