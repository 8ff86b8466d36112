// Package smtest is the suite that every Machine passes. A Machine that passes it
// can be replicated: replicas that read the same log hold the same state, give the
// same answers, and may be moved, restarted and upgraded without anyone noticing.
//
//	func TestConformance(t *testing.T) {
//		smtest.Run(t, smtest.Suite{
//			App:     board.App(),
//			Command: func(r *rand.Rand) []byte { return []byte(names[r.IntN(3)] + " 5") },
//			Query:   func(r *rand.Rand) []byte { return []byte(names[r.IntN(3)]) },
//			Golden:  "testdata/golden",
//		})
//	}
//
// Command and Query should collide often (few keys, small numbers), reach every
// operation, and be wrong now and then. All randomness comes from the seeds, so a
// failure names the seed and happens again. Run the suite with -race too: the
// check "concurrent" says nothing without it.
//
// Golden holds pairs of files: NAME.log, a log, and NAME.snap, the snapshot that
// an older program wrote after applying it. Today's program must read the
// snapshot and arrive at the very state that it gets by applying the log.
// SMTEST_GOLDEN=NAME go test writes a new pair; do so for every version of the
// format that was released, and never change an old one.
package smtest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/drumline/drumline/statemachines"
)

// Suite says what is tested and how.
type Suite struct {
	// App under test.
	App statemachines.App
	// Command makes one command.
	Command func(r *rand.Rand) []byte
	// Query makes one query.
	Query func(r *rand.Rand) []byte
	// Golden is the directory of old snapshots; empty when there are none yet.
	Golden string
	// Length of the logs; 0 means 200 commands.
	Length int
	// Seeds is the number of logs tried by each check; 0 means 5.
	Seeds int
}

// check is one promise of a Machine. It returns what broke it, or nil.
type check struct {
	name string
	run  func(s Suite, seed uint64) error
}

// checks lists the promises, simplest first.
func checks() []check {
	return []check{
		{"registers", registers},
		{"same log same state", sameLog},
		{"instances share nothing", isolated},
		{"reads change nothing", readsChangeNothing},
		{"restore at any point", restoreAnywhere},
		{"garbage", garbage},
		{"input is not kept", inputNotKept},
		{"view is frozen", frozen},
		{"broken snapshots", brokenSnapshots},
		{"slow and failing streams", streams},
		{"recovered", recovered},
		{"concurrent", concurrent},
	}
}

// Run checks every promise, each as a subtest.
func Run(t *testing.T, s Suite) {
	t.Helper()
	s = s.withDefaults()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.all(s); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("old snapshots load", func(t *testing.T) { runGolden(t, s) })
}

// all runs the check with every seed.
func (c check) all(s Suite) error {
	for seed := range uint64(s.Seeds) { //nolint:gosec // a small positive number
		if err := guarded(func() error { return c.run(s, seed) }); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	return nil
}

func (s Suite) withDefaults() Suite {
	if s.Length == 0 {
		s.Length = 200
	}
	if s.Seeds == 0 {
		s.Seeds = 5
	}
	return s
}

// guarded turns a panic of the Machine into an error, so that the report can say
// which promise and which seed it belongs to.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the machine panicked: %v", p)
		}
	}()
	return f()
}

// registers: a program can take the app.
func registers(s Suite, _ uint64) error {
	_, err := statemachines.NewRegistry(s.App)
	return err
}
