//go:build mutation

package mutant

// planted is the bug of this run; it is set before anything runs.
var planted string

// Is tells whether the bug is planted.
func Is(name string) bool { return planted == name }

// Built tells whether bugs can be planted in this build.
const Built = true

// Plant plants a bug; the empty name takes it out again. Nothing may run meanwhile.
func Plant(name string) { planted = name }
