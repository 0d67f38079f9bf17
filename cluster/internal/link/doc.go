// Package link carries messages between this node and the others: who may speak, how it is kept apart what must not wait for one another, and what
// is known when a connection breaks. What is said is wire/peer's, why is cluster/handoff's.
//
// # Connections
//
// To speak to another node, a node dials it. So there are two connections between a pair, one for each direction, and each node looks after its own:
//
//	a                                                    b
//	Send, Send, Flush ──▶ lane small ═══════════════════▶ inbound ──▶ Receive
//	                  ──▶ lane bulk  ── when needed ────▶ inbound ──▶ Receive
//	Receive ◀── inbound ◀═══════════════════ lane small ◀── Send, Flush
//
// The small lane's connection is there as long as its node is a member, and dialed again whenever it breaks. Sessions of more than 64 KiB go over a
// second one, the bulk lane's, dialed when needed and closed when not: a message never waits behind one of them.
//
// Send puts a message in line and never waits. What is in line goes together, in as few writes as there are flushes: that, and no memory taken
// for a message but its own, makes a million sessions an hour's work for seconds. A line has a limit; what comes on top is dropped.
//
// The lane's goroutine writes, for as long as that takes. But to wake it takes longer than to write a few messages, so Flush writes these itself when nothing
// was sent just before, and the socket takes them without waiting: a fetched session is here a third sooner.
//
// # What is certain
//
// A connection delivers in order, once, and all or nothing of a message. When it breaks, what had been written may have arrived or not: the rules
// in handoff repeat themselves until they have an answer. What had not been written waits for the next connection if that comes
// at once, and else is lost; then, and when nothing could be put in line, or the end of a large session was never written, Undelivered says
// so of sessions, which saves the sender its patience.
//
// Tell is for what a node says of itself now and then: it does not stand in line, goes to whom there is a connection to, and a later one replaces it.
//
// Each dialing has a higher number, the generation. A node that is greeted by a later connection first sees the earlier one off, until nothing more of
// it can be received, and greets back only then; before that nothing is sent over it. So what was said over two connections is not mixed.
//
// # Whether somebody is still there
//
// The dialer probes each connection every second. The accepter answers, and says what time it is; if nothing at all comes, it closes after 8 seconds. The dialer closes when
// a probe is not answered for 3 seconds, plus the time that what was written before it may take over the slowest network; and when 64 KiB cannot be
// written within 5 seconds. Starved for 2 seconds is not dead; but an operator who looks is told of 2 seconds without an answer, and the reason.
//
// # Strangers
//
// Who may speak is decided by TLS 1.3, with certificates on both sides (cluster/internal/keys), before anything else is read. The name in
// the certificate is the one that messages come from; the greeting must bear it, and name this node. Somebody who is no member may be heard nevertheless: the
// news of joining may be late, and the rules know what not to take from a stranger. But nothing is ever sent to one.
//
// Before the handshake is over a connection costs a goroutine, at most 1,024 of them (the oldest makes room), and 5 seconds at most; as soon as it has
// sent a byte it needs a place among 64 handshakes, 16 per address; who comes from a member's address, among that address's 16 alone. One that is refused is logged once a minute per address.
//
// # Goroutines
//
//	acceptLoop   1                          until Stop closes the listener
//	accept       1 per inbound connection   until that ends; calls Receive
//	run          2 per member, one a lane   until Forget or Stop: dials, writes, probes
//	listen       1 per dialed connection    until that ends: takes the answers to probes
//	reportLost   1                          until Stop; calls Undelivered
//
// Stop waits for all of them.
//
// # Locks
//
// lane.pen before Transport.mu before lane.mu; all others alone. No lock is held over I/O, a callback, or a channel operation that could wait, but the
// pen: who writes holds it, and nobody but the lane's goroutine ever waits for it.
//
// # How to read it
//
// transport.go is what the node calls; lane.go a message's way from there to a connection; dial.go and accept.go the two halves of a
// greeting, each followed by what its end does then; inbound.go what arrives; gate.go the limits for strangers.
package link
