package wire_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"statemesh/wire"
)

func TestExchanges_EveryRequestParsesWhole(t *testing.T) {
	t.Parallel()
	refused := map[string]wire.Refusal{"refused/03.request": wire.RefusedTimeout}
	for name, request := range exchanges(t, ".request") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var req wire.Request
			n, err := wire.NewParser(wire.Limits{}).Parse(request, &req)
			if err != nil || n == 0 || n+req.ContentLength != len(request) {
				t.Fatalf("Parse = %d, %v and %d bytes of body; there are %d bytes", n, err, req.ContentLength, len(request))
			}
			if req.Refused != refused[name] {
				t.Errorf("Refused %q, want %q", req.Refused, refused[name])
			}
			if len(req.Key) == 0 || bytes.ContainsRune(req.Key, '%') {
				t.Errorf("key %q is not decoded", req.Key)
			}
		})
	}
}

func TestExchanges_OneXTargetsMeanTheSameSession(t *testing.T) {
	t.Parallel()
	requests := exchanges(t, ".request")
	key := func(name string) string {
		var req wire.Request
		if n, err := wire.NewParser(wire.Limits{}).Parse(requests["asp-net-1x-target/"+name], &req); n == 0 || err != nil {
			t.Fatalf("%s: Parse = %d, %v", name, n, err)
		}
		return string(req.Key)
	}
	raw := key("01.request")
	if got := key("02.request"); got != raw {
		t.Errorf("encoded: %q, want %q", got, raw)
	}
	if got := key("03.request"); got != raw {
		t.Errorf("encoded in upper-case hex: %q, want %q", got, raw)
	}
	if got := key("04.request"); got == raw || !strings.EqualFold(got, raw) {
		t.Errorf("in other letters: %q, want another session than %q, in letter case only", got, raw)
	}
}

func TestExchanges_EveryResponseIsReproduced(t *testing.T) {
	t.Parallel()
	f := newFormat(t, "bare", "4.0.30319")
	for name, response := range exchanges(t, ".response") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// What depends on the clock: any number will do.
			response = bytes.ReplaceAll(response, []byte("<LOCKDATE>"), []byte("638515514010000000"))
			response = bytes.ReplaceAll(response, []byte("<LOCKAGE>"), []byte("3"))
			r := readResponse(t, response)
			want := response[:len(response)-r.ContentLength]
			if got := f.Append(nil, &r); !bytes.Equal(got, want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

// readResponse is what a web server reads from a response, in whatever order it stands there.
func readResponse(t *testing.T, response []byte) wire.Response {
	t.Helper()
	head, _, ok := strings.Cut(string(response), "\r\n\r\n")
	if !ok {
		t.Fatalf("no end of the head in %q", response)
	}
	lines := strings.Split(head, "\r\n")
	r := wire.Response{Status: map[string]wire.Status{
		"200 OK": wire.StatusOK, "400 Bad Request": wire.StatusBadRequest,
		"404 Not Found": wire.StatusNotFound, "423 Locked": wire.StatusLocked,
	}[lines[0]]}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "ActionFlags":
			r.ActionFlags = true
		case "LockDate":
			r.HasLock, r.LockDate = true, n
		case "LockAge":
			r.LockAge = n
		case "LockCookie":
			r.HasCookie, r.LockCookie = true, int32(n)
		case "Timeout":
			r.HasTimeout, r.Timeout = true, int32(n)
		case "Content-Length":
			r.ContentLength = int(n)
		}
	}
	return r
}

// exchanges returns the recorded messages whose names end in suffix, by "conversation/NN.suffix".
func exchanges(tb testing.TB, suffix string) map[string][]byte {
	tb.Helper()
	root := filepath.Join("testdata", "exchanges")
	paths, err := filepath.Glob(filepath.Join(root, "*", "*"+suffix))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no %s in %s: %v", suffix, root, err)
	}
	messages := make(map[string][]byte)
	for _, path := range paths {
		message, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		messages[filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path)] = message
	}
	return messages
}
