// Package simulate runs scenarios.
package simulate
