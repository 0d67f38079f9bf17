package bench

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

// The exchange recorded between a real web server and Microsoft's service, of which wire/testdata/exchanges has the source, and those built like it.
func TestRequests_AreAsWebServersSendThem(t *testing.T) {
	t.Parallel()
	const target = "%2fLM%2fW3SVC%2f2%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS854%3d)%2fbpr4mimb2vjnvtn2jc4yp3uo HTTP/1.1\r\nHost: localhost\r\n"
	id := [idLen]byte([]byte("bpr4mimb2vjnvtn2jc4yp3uo"))
	q := newRequests("/LM/W3SVC/2/ROOT", 30)
	body := string(q.bodyOf(30, 1, 2, 3))
	for _, tt := range []struct {
		name string
		got  func() []byte
		want string
	}{
		{"Get", func() []byte { return q.get.to(&id) }, "GET " + target + "\r\n"},
		{"GetExclusive", func() []byte { return q.acquire.to(&id) }, "GET " + target + "Exclusive: acquire\r\n\r\n"},
		{"ReleaseExclusive", func() []byte { return q.releaseOf(&id, 2) }, "GET " + target + "Exclusive: release\r\nLockCookie:2\r\n\r\n"},
		{"Set", func() []byte { return q.setOf(&id, 30, 20, 0, 2) }, "PUT " + target + "Timeout:20\r\nContent-Length:30\r\nExtraFlags:0\r\nLockCookie:2\r\n\r\n" + body},
		{"Set", func() []byte { return q.setOf(&id, 5, 525600, 0, 2147483647) }, "PUT " + target + "Timeout:525600\r\nContent-Length:5\r\nExtraFlags:0\r\nLockCookie:2147483647\r\n\r\n" + body[:5]},
		{"Insert", func() []byte { return q.setOf(&id, 30, 20, 1, 0) }, "PUT " + target + "Timeout:20\r\nContent-Length:30\r\nExtraFlags:1\r\nLockCookie:0\r\n\r\n" + body},
		{"Remove", func() []byte { return q.removeOf(&id, 2) }, "DELETE " + target + "LockCookie:2\r\n\r\n"},
		{"ResetTimeout", func() []byte { return q.touch.to(&id) }, "HEAD " + target + "\r\n"},
	} {
		for range 2 { // the second time in a buffer that has been used
			if got := string(tt.got()); got != tt.want {
				t.Errorf("%s:\n%q\nwant\n%q", tt.name, got, tt.want)
			}
		}
	}
}

func TestPutID_LooksLikeASessionID(t *testing.T) {
	t.Parallel()
	seen := make(map[[idLen]byte]bool)
	for session := range uint32(10000) {
		var id [idLen]byte
		putID(&id, 7, session)
		if bad := bytes.Trim(id[:], "abcdefghijklmnopqrstuvwxyz012345"); len(bad) > 0 {
			t.Fatalf("id %s has %q", id, bad)
		}
		seen[id] = true
	}
	if len(seen) != 10000 {
		t.Errorf("%d different ids of 10000", len(seen))
	}
}

func TestStamp_BodiesDifferInEveryPart(t *testing.T) {
	t.Parallel()
	a, b := newFiller(1000), newFiller(1000)
	stamp(b, 1000, 1, 2, 4)
	stamp(b, 300, 1, 2, 9) // a shorter body leaves its traces where a longer one must cover them
	for _, n := range []int{16, 17, 128, 129, 135, 136, 137, 256, 300, 1000} {
		stamp(b, n, 1, 2, 9)
		if got, want := stamp(a, n, 1, 2, 3), stamp(b, n, 1, 2, 3); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the same stamp makes different bodies", n)
		}
	}
	v3, v4 := stamp(a, 1000, 1, 2, 3), stamp(b, 1000, 1, 2, 4)
	for i := 0; i+stampEvery <= 1000; i += stampEvery {
		if bytes.Equal(v3[i:i+stampEvery], v4[i:i+stampEvery]) {
			t.Errorf("bytes %d to %d are the same in two versions", i, i+stampEvery)
		}
	}
	if session, version, seed := stampOf(v3); session != 2 || version != 3 || seed != 1 {
		t.Errorf("stampOf = %d, %d, %d", session, version, seed)
	}
}

var responses = []struct {
	text string
	want response
}{
	{"200 OK\r\nX-AspNet-Version: 4.0.30319\r\nLockCookie: 2\r\nTimeout: 20\r\nCache-Control: private\r\nContent-Length: 5\r\n\r\n", response{200, 2, 5, true}},
	{"HTTP/1.1 200 OK\r\nX-AspNet-Version: 4.0.30319\r\nLockCookie: 2\r\nContent-Length: 5\r\n\r\n", response{200, 2, 5, true}},
	{"HTTP/1.0 404 Not Found\r\nx-aspnet-version: 2.0.50727\r\nCONTENT-LENGTH:0\r\n\r\n", response{404, noCookie, 0, true}},
	{"423 Locked\r\nLockDate: 638515514010000000\r\nLockAge: 3\r\nlockcookie:\t2147483647 \r\nContent-Length: 0\r\n\r\n", response{423, 2147483647, 0, false}},
	{"200\r\n\r\n", response{200, noCookie, 0, false}},
}

func TestParseResponse(t *testing.T) {
	t.Parallel()
	for _, tt := range responses {
		var got response
		n, err := parseResponse([]byte(tt.text+"body"), &got)
		if n != len(tt.text) || err != nil || got != tt.want {
			t.Errorf("%q: %d, %v, %+v, want %d, %+v", tt.text, n, err, got, len(tt.text), tt.want)
		}
		for cut := range tt.text {
			if n, err := parseResponse([]byte(tt.text[:cut]), &got); n != 0 || err != nil {
				t.Errorf("%q cut at %d: %d, %v, want 0", tt.text, cut, n, err)
			}
		}
	}
}

func TestParseResponse_RefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"\r\n", "hello\r\n", "20 OK\r\n", "2000 OK\r\n", "200 OK\n", "HTTP/1.1\r\n", "HTTP/1.1 \r\n", "-20 OK\r\n",
		"200 OK\r\nno colon\r\n", "200 OK\r\n: x\r\n", "200 OK\r\nContent-Length: -1\r\n", "200 OK\r\nContent-Length: 5x\r\n",
		"200 OK\r\nContent-Length: 99999999999999999999\r\n", "200 OK\r\nContent-Length:\r\n", "200 OK\r\nLockCookie: 2147483648\r\n",
		strings.Repeat("x", maxResponseHead+1),
	} {
		var r response
		if n, err := parseResponse([]byte(text), &r); err == nil {
			t.Errorf("%q: %d, %+v, want an error", text, n, r)
		}
	}
}

// pieces is a connection whose reads return what was put in, piece by piece.
type pieces struct {
	net.Conn
	left []string
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[0])
	if p.left[0] = p.left[0][n:]; p.left[0] == "" {
		p.left = p.left[1:]
	}
	return n, nil
}

func TestReceive_AnswersSplitAtAnyByte(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 20)
	text := responses[0].text + "hello" + responses[4].text + strings.Replace(responses[1].text, ": 5", ": 200", 1) + body
	for cut := 1; cut < len(text); cut++ {
		// A buffer that is too small at first, so that it is moved and grows.
		c := &link{nc: &pieces{left: []string{text[:cut], text[cut:]}}, in: make([]byte, 64)}
		for i, want := range []string{"hello", "", body} {
			if _, err := c.receive(); err != nil {
				t.Fatalf("cut at %d: answer %d: %v", cut, i, err)
			}
			if string(c.body) != want {
				t.Fatalf("cut at %d: answer %d: body %q, want %q", cut, i, c.body, want)
			}
		}
		if _, err := c.receive(); err != io.ErrUnexpectedEOF {
			t.Fatalf("cut at %d: at the end: %v", cut, err)
		}
	}
}
