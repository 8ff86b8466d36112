package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/drumline/drumline/internal/localfleet"
)

// mostReplicas is how many replicas a region's counter has, if the region has hosts for it.
const mostReplicas = 3

// inRegions are the hosts of each region, and the regions in the order of their first host.
func inRegions(all []localfleet.Process) (regions []string, hosts map[string][]localfleet.Process) {
	hosts = map[string][]localfleet.Process{}
	for _, p := range all {
		if p.Kind != localfleet.KindNodeHost {
			continue
		}
		if hosts[p.Region] == nil {
			regions = append(regions, p.Region)
		}
		hosts[p.Region] = append(hosts[p.Region], p)
	}
	return regions, hosts
}

// countersFile returns the file to launch when regions were asked for: a counter that each
// of them counts. It is written once, to be read and changed.
func countersFile(dir string, all []localfleet.Process) (string, error) {
	file := filepath.Join(dir, "counters.yaml")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	var b strings.Builder
	b.WriteString("# A counter, counted in every region by a group of its own: docs/counters.md.\npolicy: {down_after: 10s}\ngroups:\n")
	regions, hosts := inRegions(all)
	for _, r := range regions {
		n := min(len(hosts[r]), mostReplicas)
		n -= (n + 1) % 2 // an even number would survive no more
		fmt.Fprintf(&b, "  - {name: \"counter/default@%s\", app: counter, replicas: %d, regions: {%s: %d}}\n", r, n, r, n)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return "", fmt.Errorf("write the counters: %w", err)
	}
	return file, nil
}

// printCounters tells how to count in each region.
func printCounters(w io.Writer, all []localfleet.Process) {
	regions, hosts := inRegions(all)
	var exports, reads []string
	for _, r := range regions {
		name := strings.ToUpper(strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
				return c
			}
			return '_'
		}, r))
		exports = append(exports, name+"="+hosts[r][0].HTTP)
		reads = append(reads, "curl $"+name+"/")
	}
	_, _ = fmt.Fprintf(w, `Every region counts; docs/counters.md says more:
  export %s
  curl "$%s/inc?amount=1"
  %s
`, strings.Join(exports, " "), exports[0][:strings.Index(exports[0], "=")], strings.Join(reads, "; ")) // the terminal is gone or it is not
}
