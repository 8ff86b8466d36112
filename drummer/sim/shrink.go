package sim

import "slices"

// Shrink looks for the shortest run that still breaks a promise: fewer faults, hosts
// and groups, in at most so many runs.
func Shrink(s Setup, runs int) *Outcome { return shrink(s, runs, Run) }

// shrinker keeps the shortest run found that still breaks a promise.
type shrinker struct {
	best *Outcome
	left int // runs
	run  func(Setup) *Outcome
}

func shrink(s Setup, runs int, run func(Setup) *Outcome) *Outcome {
	s.Story = false
	k := &shrinker{best: run(s), left: runs, run: run}
	if len(k.best.Violations) > 0 {
		k.faults()
		if s.From == nil {
			k.sizes()
		}
	}
	return k.best
}

// try runs a smaller setup, and keeps it if it still breaks a promise.
func (k *shrinker) try(s Setup) bool {
	if k.left--; k.left < 0 {
		return false
	}
	o := k.run(s)
	if len(o.Violations) == 0 {
		return false
	}
	k.best = o
	return true
}

// faults leaves out as many faults as it can: halves first, single ones last.
func (k *shrinker) faults() {
	keep := k.best.Setup.Keep
	if keep == nil {
		for i := range k.best.Faults {
			keep = append(keep, i)
		}
	}
	for size := (len(keep) + 1) / 2; size > 0; {
		shrunk := false
		for at := 0; at < len(keep); {
			less := slices.Delete(slices.Clone(keep), at, min(at+size, len(keep)))
			next := k.best.Setup
			next.Keep = append([]int{}, less...)
			if k.try(next) {
				keep, shrunk = less, true
			} else {
				at += size
			}
		}
		if !shrunk || size > 1 {
			size /= 2
		}
	}
}

// sizes makes the cluster smaller.
func (k *shrinker) sizes() {
	for _, less := range []func(*Setup){
		func(s *Setup) { s.Groups = 1 },
		func(s *Setup) { s.Groups /= 2 },
		func(s *Setup) { s.Groups-- },
		func(s *Setup) { s.Hosts = 3 },
		func(s *Setup) { s.Hosts /= 2 },
		func(s *Setup) { s.Hosts-- },
	} {
		for {
			next, old := k.best.Setup, k.best.Setup
			less(&next)
			if next.Groups < 1 || next.Hosts < 3 || next.Groups == old.Groups && next.Hosts == old.Hosts || !k.try(next) {
				break
			}
		}
	}
}
