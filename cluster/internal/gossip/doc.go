// Package gossip tells who is there: which other nodes are members of this node's cluster, where they are reached and how far they are in their
// life. It carries nothing else. Sessions, and questions about them, go over TLS between the members that it names.
//
// # How nodes come to know each other
//
// Finding failures and spreading news is hashicorp/memberlist's work. Every 200 ms a node probes another, which answers; if it does not, others are
// asked to try, and it is tried over TCP. Who remains silent is suspected, everybody is told, and unless the suspect protests within 2.2 s it is
// dead. News travels in packets, a few to random members every 50 ms, and by comparing notes over a stream now and then.
//
// What memberlist leaves to its user is here:
//
//	seeds    Each seed has a goroutine that resolves it and joins every address it has, until all of them are live members: for ever.
//	         A node serves meanwhile; Ready tells when it is clear whether there is a cluster to be found.
//	splits   memberlist never speaks to the dead again. So who failed is tried again, at its address, for an hour: a split heals by itself, also
//	         if one side was restarted with other names. (rejoinLost)
//	settling After every change a node compares notes with a few others, as packets get lost. (compareNotes)
//	leaving  memberlist does not tell who left from who failed. A member that leaves says so in its Meta first.
//	address  It is derived from what was configured, or it is an error. (advertised)
//	guard    Between the network and memberlist, only the current encryption version and our own label pass. (guard)
//
// # A member's life, as Events tell it
//
//	          ┌────────────── Changed (phase: draining) ◀─┐
//	          ▼                                           │
//	Joined ──▶ member ──▶ Left     after the phase leaving
//	          │    ▲ └──▶ Failed   silent for 2.4 to 4 s
//	          │    └───── Joined   it was cut off, or stopped, and is back
//
// An ID is one run of a node: a restarted node has lost its memory, and is another member. Events come in order, from one goroutine, never while
// memberlist holds its lock; a member's Joined comes before anything else about it.
//
// # Figures
//
// What memberlist counts it gives to go-metrics, for which there is one receiver in a process: figures.go is that, and hands each node its own.
//
// # Goroutines
//
// Besides memberlist's own: one for events, one per seed, one for rejoin, one for settle, one for Reconcile, two of the guard. Stop waits for all of ours.
//
// # Locks
//
// memberlist calls the delegates (delegates.go) while it holds its nodeLock, and they take table.mu. So nothing of memberlist is called under
// table.mu, and nothing waits under it.
package gossip
