// Package chaos proves what a fleet promises while its processes are killed,
// paused, wiped and restarted: writers and readers on many groups record what they
// were told, a nemesis with a seed breaks things, and the histories are judged by
// porcupine afterwards.
//
// A write whose outcome is unknown stays open to the end of its history, as it
// may take effect at any time; a history that the checker cannot judge in time is a
// failure, not a pass. Keys change often, so that each history is small enough to
// be judged.
package chaos
