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
// # How it is built, and how to read it
//
//	store.go   the operations, each read from top to bottom
//	turn.go    one request at a time on a session: finding it, waiting for it, handing it on
//	shard.go   64 parts, each with a lock: entries, index
//	entry.go   what is kept of a session besides its body: 72 bytes
//	wheel.go   who expires when
//	keeper.go  Run: expired sessions out, memory back
//	body.go    bytes on their way in
//	key.go, apps.go   names, and their common part
//	internal/offheap  memory outside the Go heap
//
// Millions of small objects would keep the garbage collector busy and cost it twice their size; so entries, index and bodies live
// outside the Go heap, and hold numbers where one would expect pointers. An entry's number is good only under its shard's lock. A body is
// counted: the entry holds it, and so does each answer that is being written from it, so that replacing it disturbs nobody.
//
// # Locks and goroutines
//
// Order of locks: shard.mu, then apps.mu, or a class's or the span list's inside offheap. None is held over I/O or while waiting. The
// package starts no goroutine: Run is the caller's. It knows no sockets and no statuses, and logs nothing.
package session
