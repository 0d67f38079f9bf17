// Package peer is what the nodes of a cluster say to each other, and the bytes of it. What a message means, and who says it when, is cluster/handoff's
// to know; how it travels is cluster/internal/link's.
//
// # A connection
//
// It carries one node's messages to one other node; what that one has to say goes over a connection of its own. The other direction is there
// for the second half of the greeting, and for pongs.
//
//	dialer                                          accepter
//	Hello  versions, lane, generation, I, you ────▶
//	       ◀──────────────────────────────────────  Hello  versions, the same lane and generation, I, you
//	                                            or  Denied versions, why; and the connection ends
//	Find, Reply, Push, ...                    ────▶
//	Ping  7                                   ────▶
//	       ◀──────────────────────────────────────  Pong   7, the time
//
// Nothing is sent before the greeting is answered. A node has at most one connection per lane to another: when a new one is greeted, what is still on its
// way in an older one, which has a lesser generation, is ignored.
//
// # A frame
//
// All numbers are big-endian. This is a Commit:
//
//	00 00 00 0e   length of what follows
//	06            kind
//	00 00 00 00 00 00 00 2a   transfer
//	00 03 2f 61 62            key: its length, its bytes
//
// After a Push follow as many bytes of body as it says: outside the frame, so that they can be read to where they will be stored, and
// written from there. After a Convoy follow all its Pushes' bodies.
//
//	kind      fields
//	Find      8B round | 4B ask | 1B flags: 1 create | 4B cookie | 8B wait | 8B adopt | 8B priority: arrived | name priority: node | key
//	Reply     8B round | 4B ask | 4B nth | 1B says | 8B epoch | 4B cookie | 8B age | 8B view | name holder | key | 8B horizon
//	Push      8B transfer | 8B epoch | 1B flags: 1 locked, 2 new | 4B cookie | 8B lock age | 4B timeout | 8B time left | 4B size | key, then the body
//	Ack       8B transfer | key
//	Refuse    8B transfer | 1B why | key
//	Commit    8B transfer | key
//	Abort     8B transfer | key
//	Confirm   8B transfer | key
//	NoRecord  8B transfer | key
//	Claims    8B batch | 4B count | count times: 8B epoch | 8B idle | key
//	Heard     as Claims
//	Know      8B version | 4B count | count times: name
//	Known     8B version
//	Report    4B length, up to 262144 | bytes
//	Convoy    8B number | 4B count, up to 64 | count times: what a Push has, then the bodies
//	ConvoyAck, ConvoyCommit, ConvoyConfirm
//	          8B number | 8B which
//	Hello     9B "statemesh" | 2B min | 2B max | 1B lane | 8B generation | name I | name you
//	Denied    9B "statemesh" | 2B min | 2B max | 2B length, why
//	Ping      8B number
//	Pong      8B number | 8B the time, in nanoseconds since 1970
//
//	key       2B length, 1 to 16384 | bytes
//	name      1B length | bytes
//
// Times are durations in nanoseconds. The one date is in a Pong, for two nodes' clocks need not agree: it shows operators how far apart they
// are. All numbers are unsigned but cookies, timeouts, durations and that date.
//
// # What may change
//
// Old and new nodes run side by side. Fields are appended: whoever does not know one ignores the bytes, and one that is missing means zero
// (there are two, the time in a Pong and the horizon in a Reply; the others above are all required). Kinds, and the numbers of Says and Refusal, are appended too: a frame of an unknown
// kind is skipped. Whatever cannot be said so takes a new version: a node says in its Hello which versions it speaks, and two that share none part with
// an explanation. Hello and Denied look the same in every version.
//
// # Limits
//
// A frame has at most MaxFrame bytes, or MaxLong if it is a Claims, Heard, Know or Convoy, and a Report MaxReport more; a body less than 2 GiB. A Reader looks at the length before it takes
// memory, and takes more for a long one only as it arrives.
//
// # How to read it
//
// message.go says what there is to say; codec.go has each message's writer and, next to it, its reader; frame.go puts them into frames; stream.go takes
// frames off a connection. The package starts nothing, logs nothing, and knows neither time nor nodes.
package peer
