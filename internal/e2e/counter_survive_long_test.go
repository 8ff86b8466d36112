//go:build e2elong && linux

package e2e

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/statemachines"
)

const (
	// regionDead is for how long all hosts of a region are dead: longer than the
	// supervisor waits before it takes a host for lost.
	regionDead = downAfter + 20*time.Second
	// oceanRestarts is how often all processes are killed and started.
	oceanRestarts = 20
)

// countSome counts in regions, and waits until all hosts show it.
func (o *oceans) countSome(n int64, regions ...string) {
	o.Helper()
	load := o.begin(regions...)
	load.goesOn(n)
	load.end()
}

// slots demands that so many lives of regions have counted, as every host knows.
func (o *oceans) slots(want int) {
	o.Helper()
	for _, host := range o.hostNames() {
		n, _ := o.origins(host, "/verbose")
		require.Equal(o, want, n, "slots at %s", host)
	}
}

func TestCountersSurvive(t *testing.T) {
	if !enterOceans(t) {
		return
	}
	all := newOceans(t)
	all.countSome(20, "ord", "hkg", "ams")
	t.Run("a region is killed", func(t *testing.T) {
		o := all.in(t)
		load := o.begin("ord", "hkg", "ams")
		load.goesOn(20)
		o.each(o.fleet.Kill, "hkg") // whoever counts there asks until it is back
		others := &traffic{o: o, each: maps.Clone(load.each)}
		delete(others.each, "hkg")
		pause(regionDead)
		others.goesOn(100)
		o.each(o.fleet.Start, "hkg")
		load.end()
		o.slots(3)
	})
	t.Run("started alone", func(t *testing.T) {
		o := all.in(t)
		o.each(o.fleet.Kill, "ams")
		o.weather(1, "ams")
		o.each(o.fleet.Start, "ams")
		load := o.begin("ord", "hkg", "ams")
		load.goesOn(50)
		o.weather(1)
		load.end()
		o.slots(3)
	})
	t.Run("restarts", func(t *testing.T) {
		o := all.in(t)
		for range oceanRestarts {
			load := o.begin("ord", "hkg", "ams")
			load.goesOn(10)
			o.must(o.fleet.KillAll())
			o.must(o.fleet.StartAll())
			load.goesOn(10)
			load.end()
		}
		o.slots(3)
	})
	t.Run("disks are lost", func(t *testing.T) { all.in(t).loseDisks("hkg") })
	t.Run("retired", func(t *testing.T) {
		o := all.in(t)
		o.each(o.fleet.Kill, "ams")
		o.run("counter", "retire-region", "counter/default", "ams", "--region", "ord")
		load := o.begin("ord", "hkg")
		load.goesOn(20)
		o.each(o.fleet.Start, "ams")
		load.end()
		o.countSome(20, "ord", "hkg", "ams") // the retired one hears of it and goes on as another
		o.slots(5)
	})
}

// loseDisks lets a region lose all that it has, and makes its group anew. What it had told
// others stays, and what it counts now is seen at once.
func (o *oceans) loseDisks(region string) {
	o.Helper()
	name := statemachines.NameOf(regional(region))
	o.each(o.fleet.Wipe, region)
	o.each(o.fleet.Start, region)
	o.ready()
	o.run("groups", "delete", regional(region).GetName(), "--region", region, "--force")
	o.within(60*time.Second, "the name is free", func() (bool, string) {
		groups, err := o.groups()
		return err == nil && groups[name] == nil, "it is listed"
	})
	o.within(60*time.Second, "the new hosts attend", func() (bool, string) {
		for _, host := range o.hosts[region] {
			if up, why := o.booted(host); !up {
				return false, why
			}
		}
		return true, ""
	})
	o.create(regional(region))
	o.within(60*time.Second, "the group is whole", o.whole([]string{name}))
	o.countSome(3, region)
	o.countSome(20, "ord", "hkg", "ams")
	o.slots(4)
}
