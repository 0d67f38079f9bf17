package wire

import (
	"bytes"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// DecodeKey appends to dst the session's key that a request target names, and returns the extended slice. The key is
// valid UTF-8 and at most three times as long as the target. dst and target must not overlap. Safe for concurrent use.
//
// The key is opaque and compared byte by byte. What it takes to get from target to key is what Microsoft's server does
// (StateWorkerRequest.cs, CreateKey in StateRuntime.cs, UrlDecode in HttpEncoder.cs), no less, so that every spelling
// of a key finds its session, and no more: no "..", no case folding, no query string.
//
//   - Two slashes at the start, as .NET 1.x sends, lose one. That is decided on the text as sent: "%2f%2f" stays two.
//   - "+" is a space. "%hh" is a byte, in hex digits of any case. "%uhhhh", with a lower-case u, is a UTF-16 unit.
//   - A "%" with anything else behind it stays as it is.
//   - Each byte that is no part of good UTF-8 becomes U+FFFD, and so does half a surrogate pair. (How many U+FFFD .NET
//     makes of one bad sequence depends on its version; web servers send none.)
func DecodeKey(dst, target []byte) []byte {
	if len(target) > 1 && target[0] == '/' && target[1] == '/' {
		target = target[1:]
	}
	return decode(dst, target)
}

// decode is DecodeKey for a target's part that begins anywhere.
func decode(dst, target []byte) []byte {
	start := len(dst)
	dst = unescape(slices.Grow(dst, len(target)), target)
	if !utf8.Valid(dst[start:]) {
		dst = replaceInvalid(dst, start)
	}
	return dst
}

// keyDecoder decodes one target after the other. Those of a connection are mostly of one application and differ in the
// session id alone, so what stands before the id is decoded once.
type keyDecoder struct {
	key    []byte // of the latest target
	app    []byte // its application's part as sent, up to and with the last "%2f"; empty if it has none
	appKey int    // the length of what app decodes to, at key's start
}

// decode is DecodeKey into d.key. Cutting a target behind an escaped slash changes nothing: no escape reaches over a "%",
// no UTF-8 sequence over a slash.
func (d *keyDecoder) decode(target []byte) {
	if !bytes.HasPrefix(target, d.app) || bytes.Contains(target[len(d.app):], escapedSlash) {
		d.app = d.app[:0]
		if i := bytes.LastIndex(target, escapedSlash); i >= 0 {
			d.app = append(d.app, target[:i+len(escapedSlash)]...)
		}
		d.key = DecodeKey(d.key[:0], d.app)
		d.appKey = len(d.key)
	}
	if len(d.app) == 0 { // unescaped, as .NET 1.x sends it: the two slashes at the start are still to be seen to
		d.key = DecodeKey(d.key[:0], target)
		return
	}
	d.key = decode(d.key[:d.appKey], target[len(d.app):])
}

// escapedSlash is a slash as web servers spell it.
var escapedSlash = []byte("%2f")

// unescape appends target with its escapes undone; it never grows a target. Stretches without one are copied whole.
func unescape(dst, target []byte) []byte {
	for {
		i := 0
		for i < len(target) && target[i] != '%' && target[i] != '+' {
			i++
		}
		dst = append(dst, target[:i]...)
		target = target[i:]
		switch {
		case len(target) == 0:
			return dst
		case target[0] == '+':
			dst = append(dst, ' ')
			target = target[1:]
		default:
			var n int
			dst, n = escape(dst, target)
			target = target[n:]
		}
	}
}

// escape appends what the escape at the start of target stands for and says how long the escape was. target begins
// with "%".
func escape(dst, target []byte) (_ []byte, n int) {
	if len(target) >= 3 {
		if b := unhex[target[1]]<<4 | unhex[target[2]]; b >= 0 {
			return append(dst, byte(b)), 3
		}
	}
	unit, ok := utf16Unit(target)
	if !ok {
		return append(dst, '%'), 1
	}
	if utf16.IsSurrogate(unit) {
		low, _ := utf16Unit(target[6:])
		if pair := utf16.DecodeRune(unit, low); pair != utf8.RuneError {
			return utf8.AppendRune(dst, pair), 12
		}
	}
	return utf8.AppendRune(dst, unit), 6 // half a pair is appended as U+FFFD
}

// utf16Unit reads a "%uhhhh" at the start of b.
func utf16Unit(b []byte) (unit rune, ok bool) {
	if len(b) < 6 || b[0] != '%' || b[1] != 'u' {
		return 0, false
	}
	unit = rune(unhex[b[2]]<<12 | unhex[b[3]]<<8 | unhex[b[4]]<<4 | unhex[b[5]])
	return unit, unit >= 0
}

// unhex holds the value of each hex digit and -1 for all other bytes. -1 survives shifts and ors: any number made with
// one is negative.
var unhex = func() (table [256]int32) {
	for c := range table {
		switch {
		case '0' <= c && c <= '9':
			table[c] = int32(c - '0')
		case 'a' <= c && c <= 'f':
			table[c] = int32(c - 'a' + 10)
		case 'A' <= c && c <= 'F':
			table[c] = int32(c - 'A' + 10)
		default:
			table[c] = -1
		}
	}
	return table
}()

// replaceInvalid replaces each byte of dst[start:] that is no part of good UTF-8 by U+FFFD. The good text is built
// behind the bad and then moved down: so dst is all the memory it takes, and that is there when the next one comes.
func replaceInvalid(dst []byte, start int) []byte {
	bad := dst[start:]
	middle := len(dst)
	for len(bad) > 0 {
		r, size := utf8.DecodeRune(bad)
		dst = utf8.AppendRune(dst, r)
		bad = bad[size:]
	}
	return append(dst[:start], dst[middle:]...)
}
