// Package brake judges whether so many hosts vanished at once that the network, or the
// supervisor itself, is the likelier cause than their death.
package brake

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Host is one of the fleet.
type Host struct {
	Name, Region string
	// Silent is for how long nothing was heard of it.
	Silent time.Duration
}

// Rule says when it is too many.
type Rule struct {
	// Percent of all hosts; two at least.
	Percent int
	// Window within which they fell silent.
	Window time.Duration
}

// Needed says why nothing may be moved; empty when it may. All are the hosts of the
// fleet by region, gone those that are silent, the longest silent first.
func (r Rule) Needed(all map[string]int, gone []Host) string {
	hosts := 0
	for _, n := range all {
		hosts += n
	}
	if n := r.atOnce(gone); n >= 2 && n*100 > hosts*r.Percent {
		return fmt.Sprintf("%d of %d hosts vanished within %s: %s", n, hosts, r.Window, names(gone))
	}
	away := map[string][]Host{}
	for _, h := range gone {
		away[h.Region] = append(away[h.Region], h)
	}
	for _, h := range gone { // in a fixed order
		if n := all[h.Region]; n >= 3 && n < hosts && r.atOnce(away[h.Region]) == n {
			return fmt.Sprintf("all %d hosts of region %q vanished within %s", n, h.Region, r.Window)
		}
	}
	return ""
}

// atOnce is how many of the hosts, the longest silent first, fell silent within the window.
func (r Rule) atOnce(gone []Host) int {
	most, from := 0, 0
	for to := range gone {
		for gone[from].Silent-gone[to].Silent > r.Window {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

func names(hosts []Host) string {
	const shown = 10
	var list []string
	for _, h := range hosts {
		list = append(list, h.Name)
	}
	slices.Sort(list)
	if n := len(list); n > shown {
		return strings.Join(list[:shown], ", ") + fmt.Sprintf(" and %d more", n-shown)
	}
	return strings.Join(list, ", ")
}
