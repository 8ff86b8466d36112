//go:build !e2elong && !race

package capacity_test

// referenceCases is the number of decisions of each algorithm that are compared with the slow reference.
const referenceCases = 100_000

// honestWorlds is the number of worlds of honest clients, for each algorithm.
const honestWorlds = 20
