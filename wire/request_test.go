package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"statemesh/wire"
)

// What the web server of the capture called its session, and what Microsoft's server took that for.
const (
	target = "%2fLM%2fW3SVC%2f2%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS854%3d)%2fbpr4mimb2vjnvtn2jc4yp3uo"
	key    = "/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/bpr4mimb2vjnvtn2jc4yp3uo"
)

// The six requests as web servers send them.
const (
	get     = "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
	acquire = "GET " + target + " HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n"
	release = "GET " + target + " HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\nLockCookie:2\r\n\r\n"
	put     = "PUT " + target + " HTTP/1.1\r\nHost: localhost\r\nTimeout:20\r\nContent-Length:30\r\nExtraFlags:0\r\nLockCookie:2\r\n\r\n"
	remove  = "DELETE " + target + " HTTP/1.1\r\nHost: localhost\r\nLockCookie:2\r\n\r\n"
	head    = "HEAD " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
)

func TestParse_ReadsWhatWebServersSend(t *testing.T) {
	t.Parallel()
	checkAccepted(t, []accepted{
		{"get", get, wire.Request{Op: wire.OpGet, Key: []byte(key), Cookie: wire.NoCookie}},
		{"acquire", acquire, wire.Request{Op: wire.OpGetExclusive, Key: []byte(key), Cookie: wire.NoCookie}},
		{"release", release, wire.Request{Op: wire.OpReleaseExclusive, Key: []byte(key), Cookie: 2}},
		{"put", put, wire.Request{Op: wire.OpSet, Key: []byte(key), ContentLength: 30, Cookie: 2, Timeout: 20}},
		{"remove", remove, wire.Request{Op: wire.OpRemove, Key: []byte(key), Cookie: 2}},
		{"head", head, wire.Request{Op: wire.OpResetTimeout, Key: []byte(key), Cookie: wire.NoCookie}},
		{
			"put of an empty session",
			"PUT " + target + " HTTP/1.1\r\nHost: localhost\r\nTimeout:45\r\nContent-Length:7\r\nExtraFlags:1\r\nLockCookie:0\r\n\r\n",
			wire.Request{Op: wire.OpSet, Key: []byte(key), ContentLength: 7, Cookie: 0, Timeout: 45, Uninitialised: true},
		},
	})
}

func TestParse_ReadsTheRequestLineLeniently(t *testing.T) {
	t.Parallel()
	get := func(key string) wire.Request {
		return wire.Request{Op: wire.OpGet, Key: []byte(key), Cookie: wire.NoCookie}
	}
	closing := func(r wire.Request) wire.Request { r.Close = true; return r }
	checkAccepted(t, []accepted{
		{"verb in lower case", "get /a HTTP/1.1\r\n\r\n", get("/a")},
		{"verb in mixed case", "hEaD /a HTTP/1.1\r\n\r\n", wire.Request{Op: wire.OpResetTimeout, Key: []byte("/a"), Cookie: wire.NoCookie}},
		{"no version", "GET /a\r\n\r\n", get("/a")},
		{"HTTP/1.0 closes", "GET /a HTTP/1.0\r\n\r\n", closing(get("/a"))},
		{"only one version is cut off", "GET /a HTTP/1.0 HTTP/1.1\r\n\r\n", get("/a HTTP/1.0")},
		{"another version belongs to the target", "GET /a HTTP/2.0\r\n\r\n", get("/a HTTP/2.0")},
		{"inner spaces belong to the target", "GET //LM/My App/1 HTTP/1.1\r\n\r\n", get("/LM/My App/1")},
		{"no slash in front", "GET a HTTP/1.1\r\n\r\n", get("a")},
		{"question mark and hash are characters", "GET /a?b=c#d HTTP/1.1\r\n\r\n", get("/a?b=c#d")},
		{"no path is tidied", "GET /a/../b//c/. HTTP/1.1\r\n\r\n", get("/a/../b//c/.")},
		{"text beyond ASCII, escaped or not", "GET /\xc3\xa4%c3%a4 HTTP/1.1\r\n\r\n", get("/ää")},
		{"an escaped control byte is a character", "GET /%00%0a HTTP/1.1\r\n\r\n", get("/\x00\n")},
		{"bare line feeds", "GET /a HTTP/1.1\nHost: x\n\n", get("/a")},
		{"mixed line ends", "GET /a HTTP/1.1\r\nHost: x\nHost: x\r\n\n", get("/a")},
		{"eight empty lines in front", "\r\n\n\r\n\n\r\n\n\r\n\nGET /a HTTP/1.1\r\n\r\n", get("/a")},
	})
}

func TestParse_ReadsHeadersLeniently(t *testing.T) {
	t.Parallel()
	put := func(change func(*wire.Request)) wire.Request {
		r := wire.Request{Op: wire.OpSet, Key: []byte("/a"), ContentLength: 5, Cookie: wire.NoCookie, Timeout: 20}
		change(&r)
		return r
	}
	get := func(change func(*wire.Request)) wire.Request {
		r := wire.Request{Op: wire.OpGet, Key: []byte("/a"), Cookie: wire.NoCookie}
		change(&r)
		return r
	}
	same := func(*wire.Request) {}
	cookie := func(c int32) func(*wire.Request) { return func(r *wire.Request) { r.Cookie = c } }
	closing := func(r *wire.Request) { r.Close = true }

	var cases []accepted
	for _, c := range []struct {
		headers string
		want    wire.Request
	}{
		// Forms of a header line.
		{"LockCookie:7", put(cookie(7))},
		{"LOCKCOOKIE: 7", put(cookie(7))},
		{"lockcookie:\t 7 \t", put(cookie(7))},
		{"LockCookie \t: 7", put(cookie(7))},
		{"Lock-Cookie: 7", put(cookie(7))},
		{"X-Unknown: a:b\tc\xc3\xa4", put(same)},
		{"X-Empty:", put(same)},
		{"Expect: 100-continue", put(same)},

		// Numbers, as Int32.Parse.
		{"LockCookie: +7", put(cookie(7))},
		{"LockCookie: 0000000000000000007", put(cookie(7))},
		{"LockCookie: -0", put(cookie(0))},
		{"LockCookie: 2147483647", put(cookie(2147483647))},
		{"LockCookie: 2147483648", put(cookie(wire.InvalidCookie))},
		{"LockCookie: 99999999999999999999999999", put(cookie(wire.InvalidCookie))},
		{"LockCookie: -1", put(cookie(wire.InvalidCookie))},
		{"LockCookie: -2147483648", put(cookie(wire.InvalidCookie))},
		{"LockCookie: two", put(cookie(wire.InvalidCookie))},
		{"LockCookie: 7x", put(cookie(wire.InvalidCookie))},
		{"LockCookie: 1 2", put(cookie(wire.InvalidCookie))},
		{"LockCookie: +-7", put(cookie(wire.InvalidCookie))},
		{"LockCookie: +", put(cookie(wire.InvalidCookie))},
		{"LockCookie:", put(cookie(wire.InvalidCookie))},

		{"Timeout: 0", put(func(r *wire.Request) { r.Timeout = 0 })},
		{"Timeout: 525600", put(func(r *wire.Request) { r.Timeout = 525600 })},
		{"ExtraFlags: 1", put(func(r *wire.Request) { r.Uninitialised = true })},
		{"ExtraFlags: 2", put(same)},
		{"ExtraFlags: 3", put(func(r *wire.Request) { r.Uninitialised = true })},
		{"ExtraFlags: -1", put(same)},
		{"ExtraFlags: -2147483648", put(same)},
		{"ExtraFlags: -3", put(func(r *wire.Request) { r.Uninitialised = true })},

		// The same header again.
		{"Timeout: 30\r\nTimeout: 30", put(func(r *wire.Request) { r.Timeout = 30 })},
		{"LockCookie: 7\r\nLock-Cookie: +07", put(cookie(7))},
		{"Content-Length: 5\r\nContent-Length:5", put(same)},
		{"ExtraFlags: 1\r\nExtraFlags: 1", put(func(r *wire.Request) { r.Uninitialised = true })},

		// A PUT is never exclusive.
		{"Exclusive: acquire", put(same)},
		{"Exclusive: nonsense", put(same)},

		{"Connection: close", put(closing)},
		{"Connection: CLOSE", put(closing)},
		{"Connection: keep-alive , Close,x", put(closing)},
		{"Connection: keep-alive\r\nConnection: close", put(closing)},
		{"Connection: close\r\nConnection: keep-alive", put(closing)},
		{"Connection: keep-alive", put(same)},
		{"Connection: closed, not-close", put(same)},
	} {
		cases = append(cases, accepted{"PUT " + c.headers, "PUT /a HTTP/1.1\r\nContent-Length:5\r\n" + c.headers + "\r\n\r\n", c.want})
	}
	for _, c := range []struct {
		headers string
		want    wire.Request
	}{
		{"Exclusive:ACQUIRE", get(func(r *wire.Request) { r.Op = wire.OpGetExclusive })},
		{"exclusive: Acquire", get(func(r *wire.Request) { r.Op = wire.OpGetExclusive })},
		{"EXCLUSIVE: Release ", get(func(r *wire.Request) { r.Op = wire.OpReleaseExclusive })},
		{"Exclusive: acquire\r\nExclusive: Acquire", get(func(r *wire.Request) { r.Op = wire.OpGetExclusive })},
		{"Content-Length: 184", get(func(r *wire.Request) { r.ContentLength = 184 })},
		{"Content-Length: 0", get(same)},
		// Headers that only a PUT reads may be nonsense on a GET; what the cookie is worth, the store decides.
		{"Timeout: -5", get(same)},
		{"Timeout: soon", get(same)},
		{"ExtraFlags: many", get(same)},
		{"ExtraFlags: 1", get(same)},
		{"LockCookie: none", get(cookie(wire.InvalidCookie))},
	} {
		cases = append(cases, accepted{"GET " + c.headers, "GET /a HTTP/1.1\r\n" + c.headers + "\r\n\r\n", c.want})
	}
	checkAccepted(t, cases)
}

func TestParse_RefusesNonsenseAndGoesOn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		headers string // after the request line
		want    wire.Refusal
	}{
		{"PUT|Content-Length: 0", wire.RefusedNoBody},
		{"PUT|Content-Length: -0", wire.RefusedNoBody},
		{"PUT|Content-Length: 5|Timeout: -1", wire.RefusedTimeout},
		{"PUT|Content-Length: 5|Timeout: 525601", wire.RefusedTimeout},
		{"PUT|Content-Length: 5|Timeout: 2147483648", wire.RefusedTimeout},
		{"PUT|Content-Length: 5|Timeout: 20m", wire.RefusedTimeout},
		{"PUT|Content-Length: 5|Timeout:", wire.RefusedTimeout},
		{"PUT|Content-Length: 5|ExtraFlags: x", wire.RefusedExtraFlags},
		{"PUT|Content-Length: 5|ExtraFlags:", wire.RefusedExtraFlags},
		{"PUT|Content-Length: 5|ExtraFlags: 2147483648", wire.RefusedExtraFlags},
		{"PUT|Content-Length: 5|ExtraFlags: -2147483649", wire.RefusedExtraFlags},
		{"GET|Exclusive: transfer", wire.RefusedExclusive},
		{"GET|Exclusive:", wire.RefusedExclusive},
		{"GET|Exclusive: acquire release", wire.RefusedExclusive},
		{"GET|Content-Length: 5|Exclusive: acquires", wire.RefusedExclusive},
		{"GET|Exclusive: acquire|Exclusive: release", wire.RefusedConflict},
		{"GET|Exclusive: acquire|Exclusive: x", wire.RefusedConflict},
		{"PUT|Content-Length: 67108865", wire.RefusedBodyTooLarge},
		{"PUT|Content-Length: 2147483647", wire.RefusedBodyTooLarge},
		{"GET|Content-Length: 67108865", wire.RefusedBodyTooLarge},
		{"GET|LockCookie: 1|Lock-Cookie: 2", wire.RefusedConflict},
		{"GET|Exclusive: release|LockCookie: 1|LockCookie: x", wire.RefusedConflict},
		{"PUT|Content-Length: 5|Timeout: 20|Timeout: 21", wire.RefusedConflict},
		{"PUT|Content-Length: 5|ExtraFlags: 0|ExtraFlags: 1|ExtraFlags: 0", wire.RefusedConflict},

		// One reason is given: the first in the order in which Microsoft's server looks.
		{"PUT|ExtraFlags: x|Timeout: x|Content-Length: 0", wire.RefusedNoBody},
		{"PUT|ExtraFlags: x|Timeout: x|Content-Length: 5", wire.RefusedTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.headers, func(t *testing.T) {
			t.Parallel()
			verb, headers, _ := strings.Cut(tt.headers, "|")
			first := verb + " /a HTTP/1.1\r\n" + strings.ReplaceAll(headers, "|", "\r\n") + "\r\n\r\n"
			body := 0
			if _, length, ok := strings.Cut(headers, "Content-Length: "); ok {
				length, _, _ = strings.Cut(length, "|")
				body, _ = strconv.Atoi(length)
			}
			p := wire.NewParser(wire.Limits{})
			var req wire.Request
			n, err := p.Parse([]byte(first+get), &req)
			if n != len(first) || err != nil {
				t.Fatalf("Parse = %d, %v; want %d, nil", n, err, len(first))
			}
			if req.Refused != tt.want || req.Op != 0 || req.ContentLength != body {
				t.Errorf("got Refused %q, Op %v, ContentLength %d; want %q, none, %d", req.Refused, req.Op, req.ContentLength, tt.want, body)
			}
			if n, err = p.Parse([]byte(get), &req); n != len(get) || err != nil || req.Refused != "" {
				t.Errorf("the next request: Parse = %d, %v, Refused %q", n, err, req.Refused)
			}
		})
	}
}

// misframed are requests after which nobody knows where the next one begins.
var misframed = []struct {
	name string
	head string
	want error
}{
	{"verb", "POST /a HTTP/1.1\r\n\r\n", wire.ErrVerb},
	{"verb with a blank in front", " GET /a HTTP/1.1\r\n\r\n", wire.ErrVerb},
	{"verb that is Unicode's idea of an ASCII one", "DELETE\u0130 /a HTTP/1.1\r\n\r\n", wire.ErrVerb},
	{"no HTTP at all", "hello\n", wire.ErrVerb},
	{"target missing", "GET HTTP/1.1\r\n\r\n", wire.ErrNoTarget},
	{"target empty", "GET  HTTP/1.1\r\n\r\n", wire.ErrNoTarget},
	{"target empty, no version", "GET \r\n\r\n", wire.ErrNoTarget},
	{"verb alone", "GET\r\n\r\n", wire.ErrNoTarget},
	{"nine empty lines", strings.Repeat("\r\n", 9) + get, wire.ErrEmptyLines},
	{"NUL in the target", "GET /a\x00 HTTP/1.1\r\n\r\n", wire.ErrControlByte},
	{"DEL in the target", "GET /a\x7f HTTP/1.1\r\n\r\n", wire.ErrControlByte},
	{"tab in the target", "GET /a\tb HTTP/1.1\r\n\r\n", wire.ErrControlByte},
	{"carriage return in the target", "GET /a\rb HTTP/1.1\r\n\r\n", wire.ErrControlByte},
	{"carriage return doubled", "GET /a HTTP/1.1\r\r\n\r\n", wire.ErrControlByte},
	{"carriage return on a line of its own, doubled", "GET /a HTTP/1.1\r\n\r\r\n", wire.ErrNoColon},
	{"tab in a header's name", "GET /a HTTP/1.1\r\nHo\tst: x\r\n\r\n", wire.ErrControlByte},
	{"NUL in a header's name", "GET /a HTTP/1.1\r\nHost\x00: x\r\n\r\n", wire.ErrControlByte},
	{"NUL in a header", "GET /a HTTP/1.1\r\nHost: x\x00\r\n\r\n", wire.ErrControlByte},
	{"DEL in a header", "GET /a HTTP/1.1\r\nHost: 1234567\x7f\r\n\r\n", wire.ErrControlByte},
	{"carriage return in a header", "GET /a HTTP/1.1\r\nHost: a\rLockCookie: 5\r\n\r\n", wire.ErrControlByte},
	{"header without a colon", "GET /a HTTP/1.1\r\nHost\r\n\r\n", wire.ErrNoColon},
	{"header folded with a space", "GET /a HTTP/1.1\r\nX: a\r\n b: c\r\n\r\n", wire.ErrFolded},
	{"header folded with a tab", "GET /a HTTP/1.1\r\nX: a\r\n\tb\r\n\r\n", wire.ErrFolded},
	{"line of a blank only", "GET /a HTTP/1.1\r\n \r\n\r\n", wire.ErrFolded},
	{"chunked", "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", wire.ErrTransferEncoding},
	{"chunked, and blanks before the colon", "PUT /a HTTP/1.1\r\nContent-Length: 5\r\ntransfer-encoding : chunked\r\n\r\n", wire.ErrTransferEncoding},
	{"Transfer-Encoding: identity", "GET /a HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", wire.ErrTransferEncoding},
	{"PUT without Content-Length", "PUT /a HTTP/1.1\r\nHost: x\r\n\r\n", wire.ErrNoContentLength},
	{"Content-Length empty", "PUT /a HTTP/1.1\r\nContent-Length:\r\n\r\n", wire.ErrContentLength},
	{"Content-Length in hex", "PUT /a HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", wire.ErrContentLength},
	{"Content-Length as a list", "PUT /a HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", wire.ErrContentLength},
	{"Content-Length negative", "PUT /a HTTP/1.1\r\nContent-Length: -5\r\n\r\n", wire.ErrContentLength},
	{"Content-Length negative, on a GET", "GET /a HTTP/1.1\r\nContent-Length: -5\r\n\r\n", wire.ErrContentLength},
	{"Content-Length beyond an int32", "PUT /a HTTP/1.1\r\nContent-Length: 4294967301\r\n\r\n", wire.ErrContentLength},
	{"Content-Length just beyond an int32", "PUT /a HTTP/1.1\r\nContent-Length: 2147483648\r\n\r\n", wire.ErrContentLength},
	{"Content-Length twice", "PUT /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", wire.ErrContentLengths},
	{"refused and misframed", "PUT /a HTTP/1.1\r\nTimeout: x\r\nContent-Length: 5\r\nnonsense\r\n\r\n", wire.ErrNoColon},
	{"line too long", "GET /" + strings.Repeat("a", wire.MaxLine) + "\r\n\r\n", wire.ErrLineTooLong},
	{"header line too long", "GET /a\r\nX:" + strings.Repeat("a", wire.MaxLine) + "\r\n\r\n", wire.ErrLineTooLong},
	{"head too long", "GET /a\r\n" + strings.Repeat("X:"+strings.Repeat("a", 1000)+"\r\n", 17) + "\r\n", wire.ErrHeadTooLong},
	{"too many headers", "GET /a\r\n" + strings.Repeat("X: a\r\n", wire.MaxHeaders+1) + "\r\n", wire.ErrTooManyHeaders},
}

func TestParse_GivesUpWhereFramingIsInDoubt(t *testing.T) {
	t.Parallel()
	for _, tt := range misframed {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := wire.NewParser(wire.Limits{})
			req := wire.Request{Cookie: 42}
			n, err := p.Parse([]byte(tt.head), &req)
			if n != 0 || !errors.Is(err, tt.want) {
				t.Fatalf("Parse = %d, %v; want 0, %v", n, err, tt.want)
			}
			var refusal wire.Refusal
			if !errors.As(err, &refusal) {
				t.Errorf("the error is a %T, not a Refusal", err)
			}
			if req.Op != 0 || req.Key != nil || req.Cookie != 42 {
				t.Errorf("the request was touched: %+v", req)
			}
			if n, err = p.Parse([]byte(get), &req); n != len(get) || err != nil || req.Op != wire.OpGet {
				t.Errorf("the parser did not begin anew: Parse = %d, %v, %v", n, err, req.Op)
			}
		})
	}
}

// At every place, for they are looked for several at a time.
func TestParse_FindsAControlByteWhereverItStands(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		control := c < ' ' || c == 0x7f
		for place := range 20 {
			text := []byte("x\xff y~\x80zx!\xff y~\x80zx!x!!")
			text[place] = byte(c)
			for _, tt := range []struct {
				where, head string
				bad         bool
			}{
				{"target", "GET /" + string(text) + ".\r\n\r\n", control},
				{"header", "GET /\r\nX: ." + string(text) + ".\r\n\r\n", control && c != '\t'},
			} {
				var req wire.Request
				_, err := wire.NewParser(wire.Limits{}).Parse([]byte(tt.head), &req)
				// A line feed ends the line; but what is left of it then has no colon.
				if bad := err != nil; bad != tt.bad {
					t.Errorf("%#02x at %d of a %s: error %v", c, place, tt.where, err)
				}
			}
		}
	}
}

func TestParse_KeepsToItsLimits(t *testing.T) {
	t.Parallel()
	line := func(size int) string { return "GET " + strings.Repeat("a", size-len("GET ")-len("\r\n")) + "\r\n" }
	tests := []struct {
		name   string
		limits wire.Limits
		head   string
		want   wire.Refusal
	}{
		{"longest line", wire.Limits{}, line(wire.MaxLine) + "\r\n", ""},
		{"line a byte too long", wire.Limits{}, line(wire.MaxLine+1) + "\r\n", wire.ErrLineTooLong},
		{"longest head", wire.Limits{MaxHead: 100}, line(98) + "\r\n", ""},
		{"head a byte too long", wire.Limits{MaxHead: 100}, line(99) + "\r\n", wire.ErrHeadTooLong},
		{"empty lines in front count", wire.Limits{MaxHead: 100}, "\n\n\n" + line(96) + "\r\n", wire.ErrHeadTooLong},
		{"long head allowed", wire.Limits{MaxHead: 1 << 20}, "GET /a\r\n" + strings.Repeat("X:"+strings.Repeat("a", 8000)+"\r\n", 64) + "\r\n", ""},
		{"most headers", wire.Limits{}, "GET /a\r\n" + strings.Repeat("X: a\r\n", wire.MaxHeaders) + "\r\n", ""},
		{"largest body", wire.Limits{MaxBody: 1000}, "PUT /a\r\nContent-Length: 1000\r\n\r\n", ""},
		{"body a byte too large", wire.Limits{MaxBody: 1000}, "PUT /a\r\nContent-Length: 1001\r\n\r\n", wire.RefusedBodyTooLarge},
		{"largest body by default", wire.Limits{}, "PUT /a\r\nContent-Length: 67108864\r\n\r\n", ""},
		{"negative limits mean defaults", wire.Limits{MaxHead: -1, MaxBody: -1}, put, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var req wire.Request
			n, err := wire.NewParser(tt.limits).Parse([]byte(tt.head), &req)
			got := req.Refused
			if err != nil {
				got = err.(wire.Refusal)
			}
			if got != tt.want || n != 0 && n != len(tt.head) || (n == 0) != (err != nil) {
				t.Errorf("Parse = %d, %v, Refused %q; want %q", n, err, req.Refused, tt.want)
			}
		})
	}
}

func TestParse_GivesUpOnALineThatNeverEnds(t *testing.T) {
	t.Parallel()
	var req wire.Request
	endless := bytes.Repeat([]byte("a"), wire.MaxLine)
	p := wire.NewParser(wire.Limits{})
	if n, err := p.Parse(endless[:wire.MaxLine-1], &req); n != 0 || err != nil {
		t.Errorf("a byte before the limit: Parse = %d, %v; want 0, nil", n, err)
	}
	if n, err := p.Parse(endless, &req); n != 0 || !errors.Is(err, wire.ErrLineTooLong) {
		t.Errorf("at the limit: Parse = %d, %v; want 0, %v", n, err, wire.ErrLineTooLong)
	}
}

func TestParse_DoesNotCareWhereARequestIsSplit(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{get, acquire, release, put, remove, head, "\r\n\n" + put, strings.ReplaceAll(put, "\r", "")} {
		want := parseOne(t, whole)
		for i := range len(whole) {
			p := wire.NewParser(wire.Limits{})
			var got wire.Request
			first := []byte(whole[:i])
			if n, err := p.Parse(first, &got); n != 0 || err != nil {
				t.Fatalf("%q: Parse = %d, %v; want 0, nil", first, n, err)
			}
			clear(first) // the parser may remember offsets, not slices
			if n, err := p.Parse([]byte(whole), &got); n != len(whole) || err != nil {
				t.Fatalf("%q after %d bytes: Parse = %d, %v", whole, i, n, err)
			}
			if diff := difference(got, want); diff != "" {
				t.Errorf("%q after %d bytes: %s", whole, i, diff)
			}
		}
	}
}

func TestParse_DoesNotCareWhereAnErrorIsSplit(t *testing.T) {
	t.Parallel()
	for _, tt := range misframed {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := wire.NewParser(wire.Limits{})
			var req wire.Request
			for i := range len(tt.head) {
				n, err := p.Parse([]byte(tt.head[:i+1]), &req)
				if n != 0 {
					t.Fatalf("%q: Parse = %d", tt.head[:i+1], n)
				}
				if err != nil {
					if !errors.Is(err, tt.want) {
						t.Errorf("error %v; want %v, as in one piece", err, tt.want)
					}
					return
				}
			}
			t.Errorf("no error; want %v", tt.want)
		})
	}
}

func TestParse_TakesPipelinedRequestsOneByOne(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("b", 30)
	stream := []byte(get + put + body + "\r\n" + acquire + "HEAD /a\nContent-Length: 3\n\nxyz" + remove)
	p := wire.NewParser(wire.Limits{})
	var got []wire.Op
	for len(stream) > 0 {
		var req wire.Request
		n, err := p.Parse(stream, &req)
		if n == 0 || err != nil {
			t.Fatalf("%q: Parse = %d, %v", stream, n, err)
		}
		got = append(got, req.Op)
		stream = stream[n+req.ContentLength:]
	}
	want := []wire.Op{wire.OpGet, wire.OpSet, wire.OpGetExclusive, wire.OpResetTimeout, wire.OpRemove}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Whatever line ends a head mixes, its first empty line ends it: a body that looks like headers stays a body.
func TestParse_NeverTakesABodyByteForAHeader(t *testing.T) {
	t.Parallel()
	const body = "LockCookie: 9\r\n\r\n"
	for _, end := range []string{"\r\n\r\n", "\n\n", "\r\n\n", "\n\r\n"} {
		head := fmt.Sprintf("PUT /a HTTP/1.1\r\nContent-Length:%d%s", len(body), end)
		var req wire.Request
		n, err := wire.NewParser(wire.Limits{}).Parse([]byte(head+body), &req)
		if n != len(head) || err != nil || req.Cookie != wire.NoCookie {
			t.Errorf("end %q: Parse = %d, %v, cookie %d; want %d, nil, none", end, n, err, req.Cookie, len(head))
		}
	}
}

// The bytes that have been looked at are changed behind the parser's back. If it looked again it would find the end of
// the head among them.
func TestParse_DoesNotScanTheSameBytesTwice(t *testing.T) {
	t.Parallel()
	p := wire.NewParser(wire.Limits{})
	var req wire.Request
	buf := []byte("GET /a HTTP/1.1\r\nX: aaaa")
	if n, err := p.Parse(buf, &req); n != 0 || err != nil {
		t.Fatalf("Parse = %d, %v; want 0, nil", n, err)
	}
	copy(buf[len("GET /a HTTP/1.1\r\n"):], "X:\r\n\r\nX")
	n, err := p.Parse(append(buf, "a\r\n\r\n"...), &req)
	if n != 0 || !errors.Is(err, wire.ErrControlByte) {
		t.Errorf("inside a line: Parse = %d, %v; want 0, %v", n, err, wire.ErrControlByte)
	}

	if n, err := p.Parse([]byte("GET /a HTTP/1.1\r\n"), &req); n != 0 || err != nil {
		t.Fatalf("Parse = %d, %v; want 0, nil", n, err)
	}
	n, err = p.Parse([]byte("PUT /b HTTP/1.0\r\n\r\n"), &req)
	if n != 19 || err != nil || req.Op != wire.OpGet || string(req.Key) != "/a" || req.Close {
		t.Errorf("behind a line: Parse = %d, %v, %v %q; want 19, nil, get \"/a\"", n, err, req.Op, req.Key)
	}
}

func TestParse_SurvivesBytesThatGoBack(t *testing.T) {
	t.Parallel()
	p := wire.NewParser(wire.Limits{})
	var req wire.Request
	if n, err := p.Parse([]byte(put[:len(put)-1]), &req); n != 0 || err != nil {
		t.Fatalf("Parse = %d, %v; want 0, nil", n, err)
	}
	if n, err := p.Parse([]byte(get), &req); n != len(get) || err != nil || req.Op != wire.OpGet {
		t.Errorf("Parse = %d, %v, %v; want %d, nil, get", n, err, req.Op, len(get))
	}
}

// Not parallel: AllocsPerRun counts for the whole process.
func TestParse_AllocatesNothing(t *testing.T) {
	for _, tt := range []struct{ name, head string }{
		{"get", get}, {"acquire", acquire}, {"release", release}, {"put", put}, {"remove", remove}, {"head", head},
		{"incomplete", put[:len(put)-2]},
		{"bad UTF-8", "GET /%ff%fe%c3\xff HTTP/1.1\r\n\r\n"},
		{"refused", "PUT /a\r\nContent-Length: 5\r\nTimeout: x\r\n\r\n"},
		{"verb", "POST /a HTTP/1.1\r\n\r\n"},
		{"no colon", "GET /a HTTP/1.1\r\nHost\r\n\r\n"},
		{"no Content-Length", "PUT /a HTTP/1.1\r\n\r\n"},
		{"Content-Length", "PUT /a HTTP/1.1\r\nContent-Length: x\r\n\r\n"},
	} {
		p := wire.NewParser(wire.Limits{})
		buf := []byte(tt.head)
		var req wire.Request
		if allocs := testing.AllocsPerRun(100, func() { p.Parse(buf, &req) }); allocs != 0 {
			t.Errorf("%s: %v allocations a request, want 0", tt.name, allocs)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bm := range []struct{ name, head string }{{"get", acquire}, {"put", put}} {
		b.Run(bm.name, func(b *testing.B) {
			p := wire.NewParser(wire.Limits{})
			head := []byte(bm.head)
			var req wire.Request
			b.ReportAllocs()
			b.SetBytes(int64(len(head)))
			for b.Loop() {
				if n, err := p.Parse(head, &req); n != len(head) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

type accepted struct {
	name string
	head string
	want wire.Request
}

func checkAccepted(t *testing.T, tests []accepted) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := difference(parseOne(t, tt.head), tt.want); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// parseOne parses head, which must be one whole head, with a parser of its own.
func parseOne(t *testing.T, head string) wire.Request {
	t.Helper()
	var req wire.Request
	n, err := wire.NewParser(wire.Limits{}).Parse([]byte(head), &req)
	if n != len(head) || err != nil {
		t.Fatalf("%q: Parse = %d, %v; want %d, nil", head, n, err, len(head))
	}
	return req
}

// difference says in what two requests differ, or nothing.
func difference(got, want wire.Request) string {
	show := func(r wire.Request) string { return fmt.Sprintf("%v %q %+v", r.Op, r.Key, withoutKey(r)) }
	if g, w := show(got), show(want); g != w {
		return fmt.Sprintf("\n got %s\nwant %s", g, w)
	}
	return ""
}

func withoutKey(r wire.Request) wire.Request {
	r.Key = nil
	return r
}
