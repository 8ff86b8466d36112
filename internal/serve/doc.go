// Package serve is the server kit that drummer and nodehost share: a teardown
// stack, the logger, a gRPC and an HTTP port with everything that belongs on every
// server of the project, and a pool of connections to other servers.
//
// On the gRPC port: recovery from panics of handlers, faults turned into statuses
// (Status, and back with Fault), metrics, a log line per failed call, the place
// where authorization will be asked (Options.Authorize), limits against hostile or
// careless clients, grpc.health.v1 and reflection. On the HTTP port: /metrics,
// /livez, /readyz, and what the server adds with Handle.
//
// Health: the empty service name is alive as long as the process answers; the name
// of a service, and /readyz, are ready when Options.Ready says so. A server that
// serves before all of it is up has Options.Serving for the former: clients need not
// wait for what a rollout waits for. Liveness must not depend on a quorum: a restart
// does not bring one back.
//
// Stopping goes: readiness off, Options.OnStop (hand leadership away while calls
// are still answered), no new calls, the running ones finish, ports close. Each
// step ends at the latest with Options.StopTimeout.
package serve
