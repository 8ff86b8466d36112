// Package examples holds the example files of this directory, for programs that
// write one out for their user.
package examples

import _ "embed" // the file below

// Cluster is cluster.yaml: the launch file of the playground.
//
//go:embed cluster.yaml
var Cluster []byte
