// Package session is the store of one node's sessions: what may happen to a session now?
//
// # The life of a session
//
//	            Set                      Acquire: cookie+1
//	(none) ────────────▶ unlocked ─────────────────────────▶ locked
//	   ▲    cookie 1        │  ▲                               │
//	   │                    │  └───────────────────────────────┘
//	   │  Remove            │     Set or Unlock with the cookie
//	   └────────────────────┴──── Remove with the cookie ──────┘
//	           or untouched for its timeout, locked or not
//
// A session is a body (bytes nobody here looks into), a sliding timeout in whole minutes, and a lock that belongs to whoever knows its
// cookie. Every operation that finds a session makes it live for another timeout, whatever else comes of it. A session created
// uninitialised says so in exactly one reply (Reply.First). These rules are those of Microsoft's server, as StateRuntime.cs of
// microsoft/referencesource has them (DoGet, FinishPut, DoDelete, DoHead), with one exception: a Set that changes the
// timeout keeps the lock cookie's count, and the flag, where Microsoft's replaces the whole item and may so rewind the cookie.
//
// An operation's result is an Outcome and not an error: each is an ordinary answer of the protocol, and none may cost an allocation.
//
// # Waiting for a session
//
// One request at a time works on a session. There are two reasons to wait, each with a queue of its own, in order of arrival:
//
//	         the turn is another's,              another holds the lock
//	         or the session is leaving           (Get and Acquire only)
//	request ───────────▶ turn ──────────────────────▶ line ────▶ Locked, when LockWait is over
//	                      │ ▲                          │
//	                      ▼ │ Settle                   ▼ the lock frees
//	                 done, or keeps the turn      served on the spot, by whoever freed it
//
// Requests that change a session never stand in line: the one that frees the lock is among them. Both queues are bounded, and
// everybody's time in them.
//
// # Leaving and arriving
//
// A store may be one of a cluster (Store.Cluster). Then the session has an owner among the nodes, and moves (Moves) as the rules of package
// cluster/handoff decide:
//
//	owned     ── Leave ───▶ leaving     when it has the turn, and if the lock allows it
//	leaving   ── Stay ────▶ owned
//	          ── Forget ──▶ gone        it is another node's
//	          ── Doubt ───▶ copied
//	pushed    ── Admit ───▶ admitted    if there is room
//	admitted  ── Own ─────▶ owned
//	          ── Keep ────▶ copied
//	          ── Discard ─▶ gone
//	copied    ── Adopt ───▶ owned
//	          ── Drop ────▶ gone        so it is when it expires
//	all       ── Fence ───▶ copied
//
// Operations on a session that is leaving wait, and go on when it stays, or find nothing when it has gone. Copies are what nobody knows yet whose
// they are: no operation sees them. Absent sessions are made only with a Grant.
//
// # How it is built, and how to read it
//
//	store.go   the operations, each read from top to bottom
//	turn.go    one request at a time on a session: finding it, waiting for it, handing it on
//	line.go    waiting for a lock
//	try.go     the operations for those who must not wait, or have waited already
//	shard.go   64 parts, each with a lock: entries, index
//	entry.go   what is kept of a session besides its body: 72 bytes
//	wheel.go   who expires when
//	keeper.go  Run: expired sessions out, memory back, and the census
//	census.go  what each application has, and the oldest locks
//	body.go    bytes on their way in
//	key.go, apps.go   names, and their common part
//	cluster.go        what a store in a cluster keeps besides, and tells
//	moves.go, leaving.go, arriving.go, tour.go   what the rules do with it
//	internal/offheap  memory outside the Go heap
//
// Millions of small objects would keep the garbage collector busy and cost it twice their size; so entries, index and bodies live
// outside the Go heap, and hold numbers where one would expect pointers. An entry's number is good only under its shard's lock. A body is
// counted: the entry holds it, and so does each answer that is being written from it, so that replacing it disturbs nobody.
//
// # Locks and goroutines
//
// Order of locks: shard.mu, then apps.mu, or a class's or the span list's inside offheap. None is held over I/O, while waiting, or while somebody
// is told of an event (shard.release). The package starts no goroutine: Run is the caller's; only a Leave whose time in line is
// over is ended by a timer's. It knows no sockets and no statuses, and logs nothing.
package session
