// Package cluster is this node's part in the mesh: where is a session, and how does it get here?
//
// # One fetch
//
// A web server asks this node for a session that another has. The store here does not have it, so service calls Fetch:
//
//	Fetch             fetch.go     posts the request to the machine, and waits
//	pump              loop.go      the machine asks every member: Find
//	links.Send        internal/link    over the connection that is kept to each
//	                  ... the holder's machine freezes the session in its store (sessions.go) and pushes it
//	links.Receive     internal/link    its body goes from the socket straight into the store's memory
//	pump              loop.go      the machine acknowledges it; the holder forgets it and commits; the machine owns it
//	answer            fetch.go     Here: Fetch returns, service tries the store again, and is Done
//
// What may be said to whom, and when a session may be served, is decided in package handoff alone: a state machine without goroutines, clock or
// I/O, which the simulator in its tests drives through every fault. This package gives it those four, and decides nothing.
//
//	node.go      Options, Node: what comes up, and in which order it goes down
//	loop.go      the machine's mailbox, and who is at the machine
//	fetch.go     web servers' requests
//	sessions.go  the store, as the machine sees it
//	members.go   who is there: gossip's news, for the machine, the links and the operator
//	report.go    what members tell each other of themselves, for operators
//	bouncing.go  sessions that move to and fro
//	fresh.go     a node that stood still
//	leave.go     drain, stop
//	snapshot.go  the last node's sessions: written at its end, taken in at the next start
//	moving.go, stats.go   figures
//	handoff/            the rules
//	internal/gossip     who is there (memberlist)
//	internal/link       connections between members
//	internal/keys       the cluster's keys, and what is derived from them
//	internal/snapshot   the last node's sessions on disk
//	internal/simnet     a network in memory, for tests
//
// # Goroutines
//
// The machine has a mailbox: Fetch posts to it; the links' readers, which wait when it is full, so that their peers do; gossip's one goroutine that
// tells of members; the store's callbacks. Whoever posts works off what is there (pump), unless somebody else is at it; Node.run does the rest, and what
// time brings. tellReports makes what other members are told, every two seconds, and waits for Options.Report. Nobody waits while at the machine: links.Send and the store's methods return at once. Node.Stop ends gossip, links, run and tellReports, in this
// order, and waits for each.
//
// # Locks
//
// machineMu, which is only ever tried but by run, comes before all others; mailbox.mu and registry.mu are leaves: nothing is called with them held. Every lock of the store may be held when nothing of ours is.
//
// # Which faults the promise covers
//
// See package handoff, "What is promised". In short: loss, doubling, delay and reordering of messages, links cut one way or both, members that join
// and drain at any time: nothing is lost, nothing that exists is said not to, every session's history is linearizable. A crash loses what the
// crashed node held, and nothing else. A split is survived but not hidden: each side goes on with what it has, and of two sessions under one
// key the one with the higher epoch remains.
package cluster
