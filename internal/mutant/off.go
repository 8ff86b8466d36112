//go:build !mutation

package mutant

// Is tells whether the bug is planted: never in this build.
func Is(string) bool { return false }

// Built tells whether bugs can be planted in this build.
const Built = false
