// Package cover counts what the schedules of the simulator went through: which fault struck
// which operation at which of its steps, and how that operation ended. A row that no schedule
// reached is a case that nobody has looked at.
package cover
