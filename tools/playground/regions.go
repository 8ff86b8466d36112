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

// checkRegions says what is wrong with regions that count: each is part of a group's name and
// of a shell variable. One that is named twice gets twice the hosts.
func checkRegions(regions []string, count bool, hosts int) error {
	if !count {
		return nil
	}
	of := map[string]string{} // regions by their variables
	for _, r := range regions {
		if r == "" || strings.ContainsFunc(r, func(c rune) bool { return !isPlain(c) && !strings.ContainsRune("-_.", c) }) {
			return fmt.Errorf("--regions %q: %q is no name of a region that counts; use letters, digits, hyphens, dots and underscores, as in ord,hkg,ams", strings.Join(regions, ","), r)
		}
		if other, taken := of[variable(r)]; taken && other != r {
			return fmt.Errorf("--regions %q: %s and %s would both be called %s; name them apart", strings.Join(regions, ","), other, r, variable(r))
		}
		of[variable(r)] = r
	}
	if hosts < len(regions) {
		return fmt.Errorf("--hosts %d: the %d regions need a host each", hosts, len(regions))
	}
	return nil
}

// isPlain tells whether a character may be in a shell variable's name anywhere but first.
func isPlain(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// variable is the shell variable that stands for a region.
func variable(region string) string {
	name := strings.ToUpper(strings.Map(func(c rune) rune {
		if isPlain(c) {
			return c
		}
		return '_'
	}, region))
	if name[0] >= '0' && name[0] <= '9' {
		return "_" + name
	}
	return name
}

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
		fmt.Fprintf(&b, "  - {name: counter/default, region: %q, replicas: %d}\n", r, n)
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
		name := variable(r)
		exports = append(exports, name+"="+hosts[r][0].HTTP)
		reads = append(reads, "curl $"+name+"/")
	}
	_, _ = fmt.Fprintf(w, `Every region counts; docs/counters.md says more:
  export %s
  curl "$%s/inc?amount=1"
  %s
`, strings.Join(exports, " "), exports[0][:strings.Index(exports[0], "=")], strings.Join(reads, "; ")) // the terminal is gone or it is not
}
