// Package coalesce packs the commands that wait for a group into few log entries.
//
// A Queue holds a group's waiting commands in batches; each Batch becomes one entry.
// Commands are copied, already encoded, into the batch when they arrive, so that
// sealing a batch is one copy, and a caller may use its bytes again at once. All
// callers of a batch wait on one channel, their results are in one slice, and both
// batch and slices are used again: a command costs no allocation of its own.
//
// A Batch counts who looks at it. Whoever added to it calls Release when it has seen
// its results or gives up; the Queue's owner, who has it from Take, ends it by
// Deliver or Fail. The one who comes last hands it back to the Pool.
//
// Nothing here locks but the Pool: the owner guards a Queue and its batches by one
// mutex. Deliver, Fail, Release, Done and what is read after Done need none.
package coalesce
