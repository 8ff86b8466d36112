// Package sequence is the Go client of sequences: numbers that are never handed out
// twice, at the cost of an addition.
//
// A Sequence takes ranges from its group ahead of need, and hands their numbers out in
// ascending order (descending, if the sequence is). client.Client has the door:
//
//	orders, err := c.Sequence("sequence/orders")
//	defer orders.Close()
//	id, err := orders.Next(ctx)
//
// One Sequence serves all goroutines of a program: each sees its numbers in order, and
// no two see the same. Numbers of different Sequences, in one program or many, have
// nothing in common but that they differ.
//
// # Ranges
//
// How many numbers a range has follows the sequence's mode. Of a dense sequence, a
// Sequence takes what callers wait for and no more, so nothing is lost by a client that
// dies. Of a cached or scattered one, it takes ranges ahead: their size is fitted to the
// rate so that one lasts for some seconds, and several are on their way at once. With
// Buffer, ranges of a fixed size are taken ahead of any sequence, as rr_seq's clients do.
//
// Close gives back what was not used, as far as nobody was handed numbers since.
//
// # Other modes
//
// GapFree reserves, commits and cancels numbers of a gap-free sequence. TimeIDs makes
// numbers of a time stamp, a leased worker and a counter, without a round trip. Timestamps
// gets hybrid timestamps, each beyond all that anybody had before it was asked for.
//
// # Failures
//
// Each range is asked for until there is an answer, by the same serial, so neither lost
// answers nor failovers cost numbers. While the group cannot be reached, Next hands out
// what is there, then waits; an error of its context says what it waited for. A group of
// another cluster, or a sequence that was dropped and made anew, is ErrDifferent: a
// Sequence never goes on at 1 in silence.
package sequence
