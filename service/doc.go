// Package service runs one node: it listens, decides what comes first and what next, and tells web servers how it went. It knows
// neither how bytes are laid out (package wire) nor what may happen to a session (package session).
//
// # One connection, one request
//
// A web server keeps a connection for long and sends one request at a time on it, for example to read and lock a session:
//
//	accept        listener.go     a connection comes; connections.go admits it or not
//	start         connections.go  an event loop serves it, or a goroutine of its own, until there is a reason to end
//	serveRequest  conn.go
//	├ await       conn.go         idle until the first byte; from then on the rest has RequestTimeout (patience.go)
//	├ readHead    conn.go
//	├ readBody    conn.go         a PUT's body is read to where the store will keep it
//	├ answer      conn.go
//	│ ├ handle    handle.go       the operation, on session.Store
//	│ │ └ fetch   fetch.go        in a cluster: what is not here is brought here, and the operation tried again
//	│ └ respond   respond.go      the outcome becomes a status
//	├ send        conn.go         head and body, the latter from the store's memory
//	├ settle      conn.go         if not all of it could be written, the lock is taken back
//	└ count       metrics.go; and usage.go, for the application
//
// and round again. Errors of the web server end there: a request that makes no sense is answered 400, bytes that are no request
// are answered 400 and end the connection, and so does silence in the middle of a request. part, in part.go, is where every
// connection ends, and the one place that logs why.
//
// The steady path allocates nothing, sets no deadlines and takes no lock besides the store's. So everything that a request needs is in its
// connection's struct, deadlines are left where they are while they are good enough (patience.go), and figures are counted apart from
// Prometheus and added up when it asks (metrics.go).
//
// # Two ways to serve, one code
//
// On Linux a few event loops serve all connections (loop_linux.go): that takes a third fewer system calls than a goroutine for each, and
// no switch between goroutines. On other systems, on connections that are not TCP and if Options.GoroutinePerConn says so, each has a
// goroutine. Both call serveRequest. What differs is the socket and the store's operations that a connection has been given: a
// goroutine's wait, a loop's return errUnready or errMustWait instead, and serveRequest, called again, goes on from where it was. Nor may one
// web server keep a loop to itself: after some bytes and system calls it is others' turn.
//
//	accepted ──► in a loop ◄──────────────────────────────── take: the request has been answered, nothing else has come
//	               │  ▲                                        │
//	               │  └─ errUnready: until more arrives        │
//	               │                                           │
//	               └─ errMustWait ──────────► leave: with a goroutine of its own
//
// A connection leaves for three reasons: its answer does not fit into the socket's buffer, another request has its turn on the session
// (session.Taken), or its last answer must be read before it is closed (linger). It takes its socket along, which then is Go's own
// poller's; only the descriptor changes.
//
// # Start and stop
//
// New makes a node, Start lets web servers in. What comes up leaves a named step on a stack; Stop, or a Start that fails, runs
// the stack from its end (shutdown.go), all of it, within StopTimeout and half a second; in a cluster, StopLimit. The steps marked * are a
// cluster's only (mesh.go, drain.go), and have a time of their own:
//
//	begin to hand over sessions * the first are on their way to other nodes, while web servers are still let in
//	stop accepting web servers    the listener closes
//	finish requests in flight     idle connections end at once, the others when they have answered; at StopTimeout, all
//	end event loops               no connection is left in them
//	hand over sessions *          all are with other nodes, or DrainTimeout is over: then the rest is written to SnapshotDir, or lost and counted
//	leave the cluster *           others know, and their last questions have been answered
//	end watching itself           the page has followed how the rest ended
//	close the status listener     it has said "stopping" since Stop began
//	end expiry
//	end connections               only if there was no Start
//	close the store
//
// # Goroutines
//
//	the accept loop               1; ended and awaited by "stop accepting"
//	loop.run                      1 for each processor, on Linux; by "end event loops"
//	connections.serve             1 for each connection that no loop serves; by "finish requests"
//	the status listener           1, and net/http's own; by "close the status listener"
//	sampler.run                   1; by "end watching itself"
//	session.Store.Run             1; by "end expiry"
//	cluster.Node's                by "leave the cluster"
//	drain.run, and its report     1 each while sessions are handed over; by "hand over sessions"
//
// # Operators
//
// The status address (status.go) has probes, the page (package page), Prometheus' figures (metrics.go, cluster_metrics.go, gossip_metrics.go) and the
// API that the commands speak to (api.go, events.go). guard.go stands before all of it and says who may ask for what; secret.go has the passwords and tokens for
// that, tls.go the certificate.
//
// All but the figures of Prometheus comes from the sampler, which looks at the node once a second (sample.go):
//
//	usage, store ─► applications (sample_apps.go) ─┐
//	tallies ─► rates (sample_rates.go), history ───┼─► documents (package api) ─► page, API, /metrics
//	others' reports (report.go) ─► facts ─► package findings   └► this node's report, to the others every two seconds
//
// # What always holds
//
//   - A web server hears 200, 400, 404 or 423 and nothing else, and only respond.go says which.
//   - 404 means that the store is certain, and in a cluster that every other node is. Anything that is merely in the way is 423 to a GET,
//     which asks again, and 400 to a write, which must not be lost without a word.
//   - 400 means that nothing was stored, locked, unlocked or removed.
//   - A web server holds a lock only if all of the answer that says so was handed to the kernel.
//   - No session id is in a log line or a metric: session.Key.Redacted stands for it.
//   - A loop waits for nothing but all of its connections together, and it alone closes their descriptors.
//   - Memory is taken for bytes that have come, not for those that a Content-Length claims.
package service
