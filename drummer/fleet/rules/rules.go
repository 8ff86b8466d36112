// Package rules says what the fleet record accepts: the limits of what it holds, and what
// is wrong with a spec, a policy, a host, a configuration or a placement in itself.
// Whether it fits what the record holds already is fleet's to say. Pure functions of
// messages: programs check with them before they ask.
package rules

import (
	"errors"
	"fmt"
	"unicode"
)

// Limits of what the record holds. They bound a snapshot and the work of one
// command, far above what a deployment needs.
const (
	MaxSpecsPerCommand = 10_000
	MaxGroups          = 1_000_000
	MaxHosts           = 10_000
	MaxText            = 256
	MaxReason          = 1_024
	MaxMembers         = 64
	maxApps            = 256
	maxLabels          = 64
	maxRegions         = 7
)

func checkLabels(labels []string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("%d labels: at most %d are kept", len(labels), maxLabels)
	}
	for i, l := range labels {
		if err := CheckText("label", l); err != nil {
			return err
		}
		if i > 0 && labels[i-1] >= l {
			return errors.New("labels must be sorted and given once each")
		}
	}
	return nil
}

// CheckText refuses what is empty, too long, or would break a terminal.
func CheckText(what, s string) error {
	if s == "" {
		return fmt.Errorf("the %s is empty", what)
	}
	return CheckOptional(what, s)
}

// CheckOptional is CheckText of what may be empty.
func CheckOptional(what, s string) error {
	if len(s) > MaxText {
		return fmt.Errorf("the %s has %d bytes, at most %d are kept", what, len(s), MaxText)
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("the %s has a character that is not printable", what)
		}
	}
	return nil
}

// Quote bounds what is repeated of somebody's input.
func Quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
