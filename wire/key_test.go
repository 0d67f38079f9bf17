package wire_test

import (
	"strings"
	"testing"

	"statemesh/wire"
)

func TestDecodeKey(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		target string
		want   string
	}{
		{"the capture", target, key},
		{".NET 1.x", "//LM/W3SVC/1446149547/Root(rFlg8p6U4SNNj7SSJTCgM5GI9h4=)/z445nnec", "/LM/W3SVC/1446149547/Root(rFlg8p6U4SNNj7SSJTCgM5GI9h4=)/z445nnec"},
		{"nothing", "", ""},
		{"unreserved", "AZaz09-_.!*()", "AZaz09-_.!*()"},

		{"two slashes lose one", "//a", "/a"},
		{"two slashes and nothing else", "//", "/"},
		{"three slashes lose one", "///a", "//a"},
		{"one slash stays", "/a", "/a"},
		{"slashes elsewhere stay", "/a//b", "/a//b"},
		{"escaped slashes stay", "%2f%2fa", "//a"},
		{"a slash and an escaped one stay", "/%2fa", "//a"},
		{"an escaped slash and one stay", "%2f/a", "//a"},

		{"upper-case hex", "%2FLM%2f", "/LM/"},
		{"plus is a space", "a+b", "a b"},
		{"an escaped plus is none", "a%2bb", "a+b"},
		{"undone once only", "%252f", "%2f"},
		{"not folded", "/A%41a%61", "/AAaa"},
		{"NUL", "a%00b", "a\x00b"},

		{"percent at the end", "a%", "a%"},
		{"percent and a digit", "a%2", "a%2"},
		{"percent and no digits", "a%zz", "a%zz"},
		{"percent and half a number", "a%2g", "a%2g"},
		{"percent, percent, escape", "%%41", "%A"},
		{"a bad escape hides no good one", "%2%41", "%2A"},

		{"UTF-8, escaped", "%c3%a4%E2%82%AC%f0%9f%98%80", "ä€😀"},
		{"UTF-8, as it is", "ä€😀", "ä€😀"},
		{"UTF-8, half and half", "%c3\xa4", "ä"},
		{"UTF-16", "%u0041%u00e4%u20AC", "Aä€"},
		{"UTF-16 pair", "%ud83d%uDE00", "😀"},
		{"UTF-16 with a capital U", "%U0041", "%U0041"},
		{"UTF-16 too short", "%u004", "%u004"},
		{"UTF-16 with a bad digit", "%u004g", "%u004g"},
		{"UTF-16 digits that are an escape", "%u%41%41", "%uAA"},

		{"bad byte", "a%ffb", "a\ufffdb"},
		{"bad byte as it is", "a\xffb", "a\ufffdb"},
		{"two bad bytes", "%ff%fe", "\ufffd\ufffd"},
		{"sequence cut off", "%e2%82", "\ufffd\ufffd"},
		{"sequence broken by a unit", "%e2%u0041%82", "\ufffdA\ufffd"},
		{"overlong slash", "%c0%af", "\ufffd\ufffd"},
		{"surrogate in UTF-8", "%ed%a0%bd", "\ufffd\ufffd\ufffd"},
		{"high half alone", "%ud83d", "\ufffd"},
		{"high half and text", "%ud83dx", "\ufffdx"},
		{"high half twice, then low", "%ud83d%ud83d%ude00", "\ufffd😀"},
		{"low half alone", "%ude00a", "\ufffda"},
		{"halves in the wrong order", "%ude00%ud83d", "\ufffd\ufffd"},
		{"high half and half an escape", "%ud83d%ude0", "\ufffd%ude0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(wire.DecodeKey(nil, []byte(tt.target))); got != tt.want {
				t.Errorf("DecodeKey(%q) = %q, want %q", tt.target, got, tt.want)
			}
		})
	}
}

// Web servers of all ages, and everything between them, must find the same session.
func TestDecodeKey_TakesEverySpellingOfOneKey(t *testing.T) {
	t.Parallel()
	want := string(wire.DecodeKey(nil, []byte(target)))
	for _, spelling := range []string{
		key,
		"/" + key,
		strings.ReplaceAll(target, "%2f", "%2F"),
		strings.Replace(target, "%2f", "/", 1),
		strings.ReplaceAll(target, "%2f", "%u002f"),
	} {
		if got := string(wire.DecodeKey(nil, []byte(spelling))); got != want {
			t.Errorf("DecodeKey(%q) = %q, want %q", spelling, got, want)
		}
	}
}

func TestDecodeKey_AppendsOnly(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"//a", "%ff", "", "+"} {
		alone := string(wire.DecodeKey(nil, []byte(target)))
		// Bytes in front that would join with the key's, were they looked at.
		if got := string(wire.DecodeKey([]byte("/\xe2\x82"), []byte(target))); got != "/\xe2\x82"+alone {
			t.Errorf("DecodeKey(%q) = %q behind %q", target, got, "/\xe2\x82")
		}
	}
}

// Not parallel: AllocsPerRun counts for the whole process.
func TestDecodeKey_AllocatesNothingOnceThereIsRoom(t *testing.T) {
	for _, s := range []string{target, "%ff\xff%u00e4+", "//a"} {
		target := []byte(s)
		var dst []byte
		if allocs := testing.AllocsPerRun(100, func() { dst = wire.DecodeKey(dst[:0], target) }); allocs != 0 {
			t.Errorf("%q: %v allocations, want 0", s, allocs)
		}
	}
}

func BenchmarkDecodeKey(b *testing.B) {
	t := []byte(target)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.DecodeKey(dst[:0], t)
	}
}
