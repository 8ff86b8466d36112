// Package agent is a host's line to Drummer: one stream to the drummer that leads.
//
// Up go a full report (Hello), then what changes, and a heartbeat each second that
// no slow work delays; down come orders, which it hands to nodehost/replicas, and
// the addresses of hosts and drummers, which it keeps on disk, so that a host finds
// its peers and its drummers again when none of the configured ones answers.
//
// It attends on any drummer and follows the redirect to the one that leads. A
// stream on which nothing is heard is dropped: the supervisor has nothing to say
// for hours, so the agent asks for a sign of life on the same connection.
//
// A drummer may refuse the host: its id was declared lost, or another process uses
// it. Run then ends with a *Refusal, and the process must end with it, before
// anything starts, because to go on would let one vote count twice.
//
// Nothing here decides what runs. With no drummer in sight the agent goes on
// dialling, and the host serves.
package agent
