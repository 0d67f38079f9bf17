// Package wire is the ASP.NET State Server protocol as bytes: it reads the request heads that web servers send and
// writes the response heads that they understand.
//
// # A request
//
// The protocol looks like HTTP/1.1 and is not quite. This one was captured between a web server and Microsoft's state
// server, both of .NET 4.0.30319; the target is shortened here:
//
//	PUT %2fLM%2fW3SVC%2f2%2fROOT(oXvp...854%3d)%2fbpr4mimb2vjn HTTP/1.1␍␊
//	│   │                                                      └ ignored, but 1.0 means: close afterwards
//	│   └ target: the session's key, UrlEncoded as a whole, hence no slash in front
//	└ verb
//	Host: localhost␍␊        ignored
//	Timeout:20␍␊             minutes that the session lives without being asked for; no blank after the colon
//	Content-Length:30␍␊      bytes of body
//	ExtraFlags:0␍␊           1: insert an empty session if there is none, else do nothing
//	LockCookie:2␍␊           the lock that this write gives back; 0 if there was none
//	␍␊
//	14 00 00 00 01 00 01 ..  30 bytes that only web servers understand
//
// The key is what DecodeKey makes of the target,
//
//	/LM/W3SVC/2/ROOT(oXvp...854=)/bpr4mimb2vjn
//	 └ application    └ its hash   └ session id
//
// but nobody looks inside: keys are equal if their bytes are. .NET 1.x sends the same key as
// "//LM/W3SVC/2/ROOT(oXvp...854=)/bpr4mimb2vjn", as it is and with a slash too many.
//
// Four verbs and one header make six operations:
//
//	verb    Exclusive  Op                  reads these headers
//	GET     -          OpGet               -
//	GET     acquire    OpGetExclusive      -
//	GET     release    OpReleaseExclusive  LockCookie
//	PUT     ignored    OpSet               Content-Length, Timeout, ExtraFlags, LockCookie
//	DELETE  ignored    OpRemove            LockCookie
//	HEAD    ignored    OpResetTimeout      -
//
// A header that its operation does not read may say what it likes, with two exceptions: Content-Length, which always
// says how many bytes to skip, and a known header that comes twice and contradicts itself.
//
// # A response
//
// Microsoft's server puts no protocol in front of the status and always keeps this order:
//
//	200 OK␍␊                          or "HTTP/1.1 200 OK", see NewFormat
//	X-AspNet-Version: 4.0.30319␍␊     on every response: web servers check it on their first one
//	ActionFlags: 1␍␊                  only if 1: the session is new
//	LockDate: 638515514010000000␍␊    423: when the lock was taken, see Ticks
//	LockAge: 3␍␊                      423: seconds since. Web servers break a lock that is too old
//	LockCookie: 2␍␊                   423: of the lock in the way. 200: of the lock just taken
//	Timeout: 20␍␊                     minutes, as the last PUT said
//	Cache-Control: private␍␊
//	Content-Length: 30␍␊
//	␍␊
//	14 00 00 00 01 00 01 ..           only if 200, and only to the two GETs that read
//
// What goes with which status, and what a web server makes of it:
//
//	status           headers between version and Cache-Control     a GET             a write
//	200 OK           reads: [ActionFlags] [LockCookie] Timeout     the session       done
//	                 release: [ActionFlags]
//	400 Bad Request  release: [ActionFlags]                        the page fails    the page fails
//	404 Not Found    -                                             no such session   ignored
//	423 Locked       LockDate LockAge LockCookie                   asks again soon   ignored: the write is lost
//	                 release: [ActionFlags] in front of them
//
// Any other status is for a GET like 404 and for a write like 200. So neither a 404 that is not certain nor a 503 may
// ever be sent: the web server would go on with an empty session and in the end write it over the real one.
//
// # Errors
//
// Bytes that are no request at all, or whose end cannot be known, make Parse return an error: answer 400 and close.
// A request that is framed well but makes no sense comes with Request.Refused: read and drop its body, answer 400, go
// on. Both are a Refusal, a constant text. Web servers turn a 400 into an error page, so nothing is lost silently.
//
// # What is not here
//
// The package starts nothing, opens nothing, logs nothing and reads no clock. It knows no session, no lock and no
// peer: whether a LockCookie fits, or a Timeout differs from the last one, is for the caller to find out. It never
// touches a body. It needs the standard library only, and on the way from bytes to Request and from Response to bytes
// it takes no memory.
//
// # How to read it
//
// request.go from top to bottom is one request's way: Parse takes it line by line, requestLine, headerLine and header
// note what each line says, finish judges the whole. header.go has the names and values of headers, key.go the way
// from target to key, refusal.go all reasons for a 400, response.go the way back. testdata/exchanges holds whole
// conversations, byte for byte.
//
// # Sources
//
// Comments name where a fact comes from:
//   - [MS-ASP], "ASP.NET State Server Protocol", v13.0: Microsoft's specification. Its prose is good; its examples are no
//     captures, and some contradict its grammar.
//   - StateRuntime.cs, StateWorkerRequest.cs (the server's managed half), OutOfProcStateClientManager.cs (the web server's)
//     and others: github.com/microsoft/referencesource. Where it differs from the specification, it decides.
//   - "the capture": BalsnCTF-2019/Donation in github.com/CykuTW/My-CTF-Challenges. It decides about single bytes.
//   - p2pStateServer: github.com/tenor/p2pStateServer, an earlier server of the same kind.
//
// The native halves of Microsoft's server and of its counterpart are not public. What they make of text that no web
// server sends is unknown; there this package is strict where a mistake could cost data, and lenient elsewhere.
package wire
