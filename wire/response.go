package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Status is one of the four statuses that web servers understand. Never send another: a web server takes any other
// answer to a GET for "no such session" and any other answer to a write for success (MakeRequest and DoGet in
// OutOfProcStateClientManager.cs).
type Status uint8

const (
	StatusOK         Status = iota // 200
	StatusBadRequest               // 400. The web server throws: the page fails, no data is lost
	StatusNotFound                 // 404
	StatusLocked                   // 423. To a GET "ask again in half a second"; ignored after a write

	statusCount
)

// String returns code and reason as they stand in the status line, such as "423 Locked".
func (s Status) String() string {
	switch s {
	case StatusOK:
		return "200 OK"
	case StatusBadRequest:
		return "400 Bad Request"
	case StatusNotFound:
		return "404 Not Found"
	case StatusLocked:
		return "423 Locked"
	}
	return "unknown status"
}

// Response is one response's head. The zero value is a 200 without a body, the answer to a write.
type Response struct {
	Status        Status
	ActionFlags   bool  // send "ActionFlags: 1": this session is new, to the first GET that meets it
	HasLock       bool  // send LockDate, LockAge and LockCookie: 423
	LockDate      int64 // when the lock was taken: ticks, see Ticks
	LockAge       int64 // seconds since then, rounded down; clamped to 0..2147483647, the web server's int32
	HasCookie     bool  // send LockCookie without the other two: an acquire's 200
	LockCookie    int32
	HasTimeout    bool
	Timeout       int32 // minutes: the session's window, not what is left of it
	ContentLength int   // bytes of body behind the head, >= 0; 0 for all but a 200 to a GET
}

// Format writes response heads in one dialect. Make one with NewFormat. Safe for concurrent use.
type Format struct {
	prefix [statusCount]string // status line and X-AspNet-Version
}

// NewFormat returns the format for one dialect, or an error that says which argument cannot be.
//
// statusLine is "bare" ("200 OK", which is what Microsoft's server sends: SendStatus in StateWorkerRequest.cs, the
// capture, the grammar in [MS-ASP] 2.2.4) or "http/1.1" ("HTTP/1.1 200 OK", as in the examples of [MS-ASP] 4).
//
// aspnetVersion is major.minor.build of the .NET Framework that we pass for, such as "4.0.30319" or "2.0.50727"
// ([MS-ASP] 2.2.3.4). From the first response it ever gets a web server wants a major version of at least 2, or it
// throws (MakeRequest in OutOfProcStateClientManager.cs).
func NewFormat(statusLine, aspnetVersion string) (*Format, error) {
	var protocol string
	switch statusLine {
	case "bare":
	case "http/1.1":
		protocol = "HTTP/1.1 "
	default:
		return nil, fmt.Errorf(`status line %q: want "bare" or "http/1.1"`, statusLine)
	}
	if !isVersion(aspnetVersion) {
		return nil, fmt.Errorf("ASP.NET version %q: want major.minor.build, such as 4.0.30319", aspnetVersion)
	}
	f := new(Format)
	for s := range f.prefix {
		f.prefix[s] = protocol + Status(s).String() + "\r\nX-AspNet-Version: " + aspnetVersion + "\r\n"
	}
	return f, nil
}

// isVersion reports whether v is three numbers, the first of them not 0.
func isVersion(v string) bool {
	parts := strings.Split(v, ".")
	if len(parts) != 3 {
		return false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil || i == 0 && n == 0 {
			return false
		}
	}
	return true
}

// Append appends r's head, blank line included, to b and returns the extended slice. It allocates nothing if b has
// room; 256 bytes always do.
//
// The order of headers is that of Microsoft's server: the version; what StateRuntime.cs appends, in its order; what
// HttpResponse.cs adds; and the length last, from native code. There is never a Date, Server, Content-Type or
// Connection.
func (f *Format) Append(b []byte, r *Response) []byte {
	b = append(b, f.prefix[r.Status]...)
	if r.ActionFlags {
		b = append(b, "ActionFlags: 1\r\n"...)
	}
	if r.HasLock {
		b = appendHeader(b, "LockDate: ", r.LockDate)
		b = appendHeader(b, "LockAge: ", min(max(r.LockAge, 0), math.MaxInt32))
	}
	if r.HasLock || r.HasCookie {
		b = appendHeader(b, "LockCookie: ", int64(r.LockCookie))
	}
	if r.HasTimeout {
		b = appendHeader(b, "Timeout: ", int64(r.Timeout))
	}
	b = append(b, "Cache-Control: private\r\n"...)
	b = appendHeader(b, "Content-Length: ", int64(r.ContentLength))
	return append(b, "\r\n"...)
}

func appendHeader(b []byte, name string, value int64) []byte {
	b = append(b, name...)
	b = strconv.AppendInt(b, value, 10)
	return append(b, "\r\n"...)
}

// Ticks returns t as LockDate wants it: steps of 100 ns since the year 1, by the wall clock of t's time zone (ReportLocked
// in StateRuntime.cs; [MS-ASP] 2.2.3.8). Pass a local time: a server says its own zone's. The zero time, a lock that was
// never taken, is 0.
func Ticks(t time.Time) int64 {
	const (
		perSecond = 10_000_000
		unixEpoch = 621_355_968_000_000_000 // 1970-01-01 00:00
	)
	if t.IsZero() {
		return 0
	}
	_, offset := t.Zone()
	return (t.Unix()+int64(offset))*perSecond + int64(t.Nanosecond())/100 + unixEpoch
}
