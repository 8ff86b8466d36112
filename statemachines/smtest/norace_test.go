//go:build !race

package smtest

const raceEnabled = false
