// Package faults is the bad network of tests: a transport asks a Hook about everything
// that it sends, and a Network is one that loses, doubles, delays and reorders as its
// seed says. Outside tests there is none.
package faults
