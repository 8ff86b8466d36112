// Package states moves states of groups: it serves those of the groups that are here,
// keeps the last state of every replica that was retired here, takes in states from files
// until a group is loaded from them, and loads a group that is led here from a state
// that another host has.
//
// It decides nothing: replicas says what is retired, orders say what is loaded.
package states
