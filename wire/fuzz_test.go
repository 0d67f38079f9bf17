package wire_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"statemesh/wire"
)

// fuzzLimits are small, so that the fuzzer finds them.
var fuzzLimits = wire.Limits{MaxHead: 512, MaxBody: 1000}

func FuzzParse(f *testing.F) {
	for _, request := range exchanges(f, ".request") {
		f.Add(request)
	}
	for _, tt := range misframed {
		f.Add([]byte(tt.head))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := wire.NewParser(fuzzLimits)
		untouched := wire.Request{Cookie: 42}
		req := untouched
		n, err := p.Parse(data, &req)
		switch {
		case n == 0 && difference(req, untouched) != "":
			t.Fatalf("no request, but it was touched: %+v", req)
		case n == 0 && err == nil:
			// Incomplete: nothing to say, except that it may not stay so for ever.
			if len(data) >= fuzzLimits.MaxHead {
				t.Fatalf("%d bytes and still not complete", len(data))
			}
			return
		case n == 0:
			if again, errAgain := p.Parse(data, &req); again != 0 || errAgain != err {
				t.Fatalf("first %v, then Parse = %d, %v", err, again, errAgain)
			}
			return
		}

		checkRequest(t, data, n, err, &req)

		// The same from the same parser, and from one that is shown the head alone.
		want := req
		want.Key = slices.Clone(req.Key)
		if again, err := p.Parse(data, &req); again != n || err != nil || difference(req, want) != "" {
			t.Fatalf("again: Parse = %d, %v; want %d, nil%s", again, err, n, difference(req, want))
		}
		p = wire.NewParser(fuzzLimits)
		if early, err := p.Parse(data[:n-1], &req); early != 0 || err != nil {
			t.Fatalf("a byte too early: Parse = %d, %v; want 0, nil", early, err)
		}
		if alone, err := p.Parse(data[:n], &req); alone != n || err != nil || difference(req, want) != "" {
			t.Fatalf("alone: Parse = %d, %v; want %d, nil%s", alone, err, n, difference(req, want))
		}
	})
}

func checkRequest(t *testing.T, data []byte, n int, err error, req *wire.Request) {
	t.Helper()
	if n < 0 || n > len(data) || n > fuzzLimits.MaxHead || err != nil {
		t.Fatalf("Parse = %d, %v of %d bytes", n, err, len(data))
	}
	if head := data[:n]; !bytes.HasSuffix(head, []byte("\n\n")) && !bytes.HasSuffix(head, []byte("\n\r\n")) {
		t.Fatalf("head ends in no empty line: %q", head)
	}
	if req.ContentLength < 0 || req.ContentLength > fuzzLimits.MaxBody && req.Op != 0 {
		t.Fatalf("ContentLength %d", req.ContentLength)
	}
	if len(req.Key) == 0 || !utf8.Valid(req.Key) {
		t.Fatalf("key %q", req.Key)
	}
	if req.Cookie < wire.InvalidCookie {
		t.Fatalf("cookie %d", req.Cookie)
	}
	if (req.Op == 0) != (req.Refused != "") {
		t.Fatalf("%v, and refused for %q", req.Op, req.Refused)
	}
	if req.Op == wire.OpSet && (req.ContentLength == 0 || req.Timeout < 0 || req.Timeout > 525600) {
		t.Fatalf("PUT of %d bytes for %d minutes", req.ContentLength, req.Timeout)
	}
	if req.Op != wire.OpSet && (req.Timeout != 0 || req.Uninitialised) {
		t.Fatalf("%v with timeout %d, uninitialised %v", req.Op, req.Timeout, req.Uninitialised)
	}
}

// FuzzSplit shows one parser a stream at once and another the same stream in pieces, whose sizes cuts gives.
func FuzzSplit(f *testing.F) {
	for _, stream := range []string{get + put + "012345678901234567890123456789" + acquire, "\r\n" + release + head + remove, "GET /a\n\nPOST /b\n\n"} {
		f.Add([]byte(stream), []byte{1})
		f.Add([]byte(stream), []byte{15, 1, 1, 40, 2, 255, 1})
	}
	for _, tt := range misframed {
		f.Add([]byte(get+tt.head), []byte{60, 3})
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		whole := readAll(stream, nil)
		pieces := readAll(stream, cuts)
		if !slices.Equal(whole, pieces) {
			t.Fatalf("at once\n%q\nin pieces\n%q", whole, pieces)
		}
	})
}

// readAll reads stream as a connection would, its next piece always as long as the next of cuts says, and says what
// it saw: requests, bodies, and how it ended.
func readAll(stream, cuts []byte) (seen []string) {
	p := wire.NewParser(fuzzLimits)
	arrived, consumed := 0, 0
	more := func() bool {
		piece := len(stream)
		if len(cuts) > 0 {
			piece = 1 + int(cuts[0])
			cuts = append(cuts[1:len(cuts):len(cuts)], cuts[0])
		}
		before := arrived
		arrived = min(arrived+piece, len(stream))
		return arrived > before
	}
	for {
		var req wire.Request
		buf := slices.Clone(stream[consumed:arrived])
		n, err := p.Parse(buf, &req)
		for i := range buf {
			buf[i] = '\n' // a slice of the buffer that outlives the call will be seen
		}
		switch {
		case err != nil:
			return append(seen, err.Error())
		case n == 0 && !more():
			return append(seen, fmt.Sprintf("%d bytes of a head", len(stream)-consumed))
		case n == 0:
			continue
		}
		seen = append(seen, fmt.Sprintf("%d %v %q %+v", n, req.Op, req.Key, withoutKey(req)))
		consumed += n
		for arrived-consumed < req.ContentLength {
			if !more() {
				return append(seen, fmt.Sprintf("%d bytes of a body", len(stream)-consumed))
			}
		}
		consumed += req.ContentLength
	}
}

func FuzzDecodeKey(f *testing.F) {
	for _, s := range []string{target, key, "//a", "%2f%2f", "a+b%2B", "%ud83d%ude00", "%ud83d%", "%e2%82%u0041%ac", "\xff%ff%", "%%41%zz%4"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, target []byte) {
		before := slices.Clone(target)
		got := wire.DecodeKey([]byte("prefix"), target)
		if !bytes.Equal(target, before) {
			t.Fatalf("target %q became %q", before, target)
		}
		got, ok := bytes.CutPrefix(got, []byte("prefix"))
		if !ok {
			t.Fatalf("DecodeKey did not append")
		}
		if !utf8.Valid(got) {
			t.Errorf("DecodeKey(%q) = %q: no UTF-8", target, got)
		}
		if len(got) > 3*len(target) || len(target) > 0 && len(got) == 0 {
			t.Errorf("DecodeKey(%q) = %q: %d bytes from %d", target, got, len(got), len(target))
		}
		if want := decodeKeySlowly(target); string(got) != want {
			t.Errorf("DecodeKey(%q) = %q, want %q", target, got, want)
		}
	})
}

// A parser remembers what the targets of a connection have in common. That must never show.
func FuzzKeys(f *testing.F) {
	for _, pair := range [][2]string{
		{target, target},
		{target, strings.Replace(target, "%2fb", "%2fc", 1)},
		{target, strings.ReplaceAll(target, "%2f", "%2F")},
		{target, target + "%2f"},
		{target[:len(target)/2], target},
		{key, "/" + key},
		{"//a", "//a%2fb"},
		{"%2f", "//"},
		{"%ff%2fa", "%ff%2f%82"},
		{"%ud83d%2f%ude00", "%ud83d%2f%ude00x"},
		{"%%2fa", "%%2fb"},
		{"%u00%2fa", "%u00%2f"},
	} {
		f.Add([]byte(pair[0]), []byte(pair[1]))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if bytes.ContainsAny(slices.Concat(first, second), "\n") {
			return // not one line
		}
		p := wire.NewParser(wire.Limits{})
		for _, target := range [][]byte{first, second, first, second, second} {
			var req wire.Request
			if n, _ := p.Parse(fmt.Appendf(nil, "GET %s HTTP/1.1\n\n", target), &req); n == 0 {
				return // no target
			}
			if want := wire.DecodeKey(nil, target); !bytes.Equal(req.Key, want) {
				t.Fatalf("target %q after %q: key %q, want %q", target, first, req.Key, want)
			}
		}
	})
}

// decodeKeySlowly is UrlDecode of HttpEncoder.cs as Microsoft wrote it: UTF-16 units, with bytes waiting to be decoded
// together, and at the end a look at the surrogates.
func decodeKeySlowly(target []byte) string {
	target = bytes.Clone(target)
	if bytes.HasPrefix(target, []byte("//")) {
		target = target[1:]
	}
	var units []uint16
	var waiting []byte
	flush := func() {
		for _, r := range string(waiting) {
			units = utf16.AppendRune(units, r)
		}
		waiting = nil
	}
	for pos := 0; pos < len(target); pos++ {
		c := target[pos]
		if c == '+' {
			c = ' '
		} else if c == '%' && pos < len(target)-2 {
			if target[pos+1] == 'u' && pos < len(target)-5 {
				if unit, ok := hex(target[pos+2 : pos+6]); ok {
					flush()
					units = append(units, unit)
					pos += 5
					continue
				}
			} else if b, ok := hex(target[pos+1 : pos+3]); ok {
				waiting = append(waiting, byte(b))
				pos += 2
				continue
			}
		}
		waiting = append(waiting, c)
	}
	flush()
	return string(utf16.Decode(units))
}

func hex(digits []byte) (n uint16, ok bool) {
	for _, d := range digits {
		i := bytes.IndexByte([]byte("0123456789abcdef0123456789ABCDEF"), d)
		if i < 0 {
			return 0, false
		}
		n = n<<4 | uint16(i%16)
	}
	return n, true
}
