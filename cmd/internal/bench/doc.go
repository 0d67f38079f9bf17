// Package bench plays a web farm against a state service, any that speaks the protocol, and judges its answers and its speed.
//
// A [Farm] is a number of connections, each with sessions of its own, for which it asks as pages do:
//
//	Fill     every session is stored once                                  fill.go
//	Run      pages, one at a time on a connection, each answer checked     page.go, pair.go, check.go, conn.go
//	Empty    every session is removed                                      fill.go
//
// Nothing of what the server is built from is used here, so that the two cannot be wrong in the same way. The farm shares the
// machine with the server it measures: a request is put together in place, sent in one write, and its answer checked where it was
// read, without allocating.
//
// What a session's id is and what its body holds follows from its number (session.go): so answers are checked without a copy of what was stored.
// [WebServer] is one connection used by hand, for tests that do the judging themselves (webserver.go).
//
// [Main] is the command: one run against one service, or rounds that alternate between the service and the floor (floor.go), a
// server that does nothing but read requests and write canned answers, and so shows what the machine can do at all (compare.go).
// What it starts runs in child processes (child.go), each side held to a core of its own (cores_linux.go).
package bench
