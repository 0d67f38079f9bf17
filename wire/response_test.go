package wire_test

import (
	"math"
	"testing"
	"time"

	"statemesh/wire"
)

func TestAppend_WritesWhatMicrosoftsServerWrites(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		r    wire.Response
		want string
	}{
		{
			"done", wire.Response{},
			"200 OK\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"read", wire.Response{HasTimeout: true, Timeout: 20, ContentLength: 30},
			"200 OK\r\nX-AspNet-Version: 4.0.30319\r\nTimeout: 20\r\nCache-Control: private\r\nContent-Length: 30\r\n\r\n",
		},
		{
			"acquired", wire.Response{HasCookie: true, LockCookie: 2, HasTimeout: true, Timeout: 20, ContentLength: 30},
			"200 OK\r\nX-AspNet-Version: 4.0.30319\r\nLockCookie: 2\r\nTimeout: 20\r\nCache-Control: private\r\nContent-Length: 30\r\n\r\n",
		},
		{
			"acquired for the first time", wire.Response{ActionFlags: true, HasCookie: true, LockCookie: 2, HasTimeout: true, Timeout: 20, ContentLength: 7},
			"200 OK\r\nX-AspNet-Version: 4.0.30319\r\nActionFlags: 1\r\nLockCookie: 2\r\nTimeout: 20\r\nCache-Control: private\r\nContent-Length: 7\r\n\r\n",
		},
		{
			"refused", wire.Response{Status: wire.StatusBadRequest},
			"400 Bad Request\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"missing", wire.Response{Status: wire.StatusNotFound},
			"404 Not Found\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"locked", wire.Response{Status: wire.StatusLocked, HasLock: true, LockDate: 638515514010000000, LockAge: 3, LockCookie: 2},
			"423 Locked\r\nX-AspNet-Version: 4.0.30319\r\nLockDate: 638515514010000000\r\nLockAge: 3\r\nLockCookie: 2\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"a release of a new session that another has locked", wire.Response{Status: wire.StatusLocked, ActionFlags: true, HasLock: true, LockCookie: 3},
			"423 Locked\r\nX-AspNet-Version: 4.0.30319\r\nActionFlags: 1\r\nLockDate: 0\r\nLockAge: 0\r\nLockCookie: 3\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"a session that never expires", wire.Response{HasTimeout: true, ContentLength: 1},
			"200 OK\r\nX-AspNet-Version: 4.0.30319\r\nTimeout: 0\r\nCache-Control: private\r\nContent-Length: 1\r\n\r\n",
		},
		{
			"the age of a lock from the future", wire.Response{Status: wire.StatusLocked, HasLock: true, LockAge: -1},
			"423 Locked\r\nX-AspNet-Version: 4.0.30319\r\nLockDate: 0\r\nLockAge: 0\r\nLockCookie: 0\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"the age of a lock from the year 1", wire.Response{Status: wire.StatusLocked, HasLock: true, LockAge: math.MaxInt64},
			"423 Locked\r\nX-AspNet-Version: 4.0.30319\r\nLockDate: 0\r\nLockAge: 2147483647\r\nLockCookie: 0\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n",
		},
	}
	f := newFormat(t, "bare", "4.0.30319")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(f.Append(nil, &tt.r)); got != tt.want {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
			if got := string(f.Append([]byte("before"), &tt.r)); got != "before"+tt.want {
				t.Errorf("not appended: %q", got)
			}
		})
	}
}

func TestAppend_SpeaksTheDialectAskedFor(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "http/1.1", "2.0.50727")
	for status, line := range map[wire.Status]string{
		wire.StatusOK:         "HTTP/1.1 200 OK",
		wire.StatusBadRequest: "HTTP/1.1 400 Bad Request",
		wire.StatusNotFound:   "HTTP/1.1 404 Not Found",
		wire.StatusLocked:     "HTTP/1.1 423 Locked",
	} {
		want := line + "\r\nX-AspNet-Version: 2.0.50727\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
		if got := string(f.Append(nil, &wire.Response{Status: status})); got != want {
			t.Errorf("\n got %q\nwant %q", got, want)
		}
	}
}

func TestNewFormat_RefusesWhatNoWebServerWouldTake(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ statusLine, version, want string }{
		{"", "4.0.30319", `status line "": want "bare" or "http/1.1"`},
		{"HTTP/1.1", "4.0.30319", `status line "HTTP/1.1": want "bare" or "http/1.1"`},
		{"bare", "", `ASP.NET version "": want major.minor.build, such as 4.0.30319`},
		{"bare", "4", `ASP.NET version "4": want major.minor.build, such as 4.0.30319`},
		{"bare", "4.0", `ASP.NET version "4.0": want major.minor.build, such as 4.0.30319`},
		{"bare", "4.0.30319.42000", `ASP.NET version "4.0.30319.42000": want major.minor.build, such as 4.0.30319`},
		{"bare", "0.9.1", `ASP.NET version "0.9.1": want major.minor.build, such as 4.0.30319`},
		{"bare", "4..1", `ASP.NET version "4..1": want major.minor.build, such as 4.0.30319`},
		{"bare", "+4.0.1", `ASP.NET version "+4.0.1": want major.minor.build, such as 4.0.30319`},
		{"bare", "4.0.1\r\n", `ASP.NET version "4.0.1\r\n": want major.minor.build, such as 4.0.30319`},
		{"bare", "four.0.1", `ASP.NET version "four.0.1": want major.minor.build, such as 4.0.30319`},
	} {
		if _, err := wire.NewFormat(tt.statusLine, tt.version); err == nil || err.Error() != tt.want {
			t.Errorf("NewFormat(%q, %q): error %v, want %s", tt.statusLine, tt.version, err, tt.want)
		}
	}
}

func TestTicks_CountsByTheWallClockOfTheZone(t *testing.T) {
	t.Parallel()
	berlin := time.FixedZone("CEST", 2*60*60)
	newYork := time.FixedZone("EDT", -4*60*60)
	for _, tt := range []struct {
		name string
		t    time.Time
		want int64
	}{
		{"UTC", time.Date(2024, 5, 17, 14, 3, 21, 0, time.UTC), 638515514010000000},
		{"the same wall clock further east", time.Date(2024, 5, 17, 14, 3, 21, 0, berlin), 638515514010000000},
		{"the same instant further east", time.Date(2024, 5, 17, 14, 3, 21, 0, time.UTC).In(berlin), 638515514010000000 + 2*36_000_000_000},
		{"the same instant further west", time.Date(2024, 5, 17, 14, 3, 21, 0, time.UTC).In(newYork), 638515514010000000 - 4*36_000_000_000},
		{"fractions", time.Date(2024, 5, 17, 14, 3, 21, 123456789, time.UTC), 638515514011234567},
		{"the Unix epoch", time.Unix(0, 0).UTC(), 621355968000000000},
		{"a lock never taken", time.Time{}, 0},
		{"a lock never taken, further west", time.Time{}.In(newYork), 0},
	} {
		if got := wire.Ticks(tt.t); got != tt.want {
			t.Errorf("%s: Ticks(%v) = %d, want %d", tt.name, tt.t, got, tt.want)
		}
	}
}

// The longest head there is: a promise in Append's comment.
func TestAppend_NeedsNoMoreThan256Bytes(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "http/1.1", "2147483647.2147483647.2147483647")
	b := f.Append(nil, &wire.Response{
		Status: wire.StatusBadRequest, ActionFlags: true,
		HasLock: true, LockDate: math.MinInt64, LockAge: math.MaxInt64, LockCookie: math.MinInt32,
		HasTimeout: true, Timeout: math.MinInt32, ContentLength: math.MaxInt32,
	})
	if len(b) > 256 {
		t.Errorf("%d bytes", len(b))
	}
}

// Not parallel: AllocsPerRun counts for the whole process.
func TestAppend_AllocatesNothing(t *testing.T) {
	f := newFormat(t, "bare", "4.0.30319")
	buf := make([]byte, 0, 256)
	for _, r := range []*wire.Response{
		{HasCookie: true, LockCookie: 2, HasTimeout: true, Timeout: 20, ContentLength: 30},
		{Status: wire.StatusLocked, HasLock: true, LockDate: 638515514010000000, LockAge: 3, LockCookie: 2},
	} {
		if allocs := testing.AllocsPerRun(100, func() { buf = f.Append(buf[:0], r) }); allocs != 0 {
			t.Errorf("%v: %v allocations a response, want 0", r.Status, allocs)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	f := newFormat(b, "bare", "4.0.30319")
	r := &wire.Response{HasCookie: true, LockCookie: 2, HasTimeout: true, Timeout: 20, ContentLength: 30}
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Append(buf[:0], r)
	}
}

func newFormat(tb testing.TB, statusLine, version string) *wire.Format {
	tb.Helper()
	f, err := wire.NewFormat(statusLine, version)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}
