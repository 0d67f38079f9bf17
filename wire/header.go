package wire

import (
	"bytes"
	"encoding/binary"
	"math"
)

// header is a request header that means something to us. All others, Host and Expect among them, are ignored.
type header uint8

const (
	headerOther header = iota
	headerExclusive
	headerTimeout
	headerExtraFlags
	headerLockCookie
	headerContentLength
	headerConnection
	headerTransferEncoding
)

// headerOf knows names in any case. The length tells nearly all of them apart, so most names are compared once or
// not at all.
func headerOf(name []byte) header {
	switch len(name) {
	case len("timeout"):
		if equalFold(name, "timeout") {
			return headerTimeout
		}
	case len("exclusive"):
		if equalFold(name, "exclusive") {
			return headerExclusive
		}
	case len("lockcookie"):
		switch {
		case equalFold(name, "lockcookie"):
			return headerLockCookie
		case equalFold(name, "extraflags"):
			return headerExtraFlags
		case equalFold(name, "connection"):
			return headerConnection
		}
	case len("lock-cookie"):
		// So spelled in the examples of [MS-ASP] 4, and nowhere else.
		if equalFold(name, "lock-cookie") {
			return headerLockCookie
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			return headerContentLength
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			return headerTransferEncoding
		}
	}
	return headerOther
}

// exclusive is the value of the Exclusive header.
type exclusive uint8

const (
	exclusiveAbsent exclusive = iota
	exclusiveAcquire
	exclusiveRelease
	exclusiveUnknown
)

// parseExclusive takes any case: web servers send "acquire", the examples of [MS-ASP] 4 "Acquire".
func parseExclusive(value []byte) exclusive {
	switch {
	case equalFold(value, "acquire"):
		return exclusiveAcquire
	case equalFold(value, "release"):
		return exclusiveRelease
	}
	return exclusiveUnknown
}

// number is the value of a header that holds an int32. Two numbers are equal (==) if they mean the same.
type number struct {
	present bool
	valid   bool
	value   int32 // 0 unless valid
}

func (n number) malformed() bool { return n.present && !n.valid }

// parseNumber reads what .NET's Int32.Parse reads: an optional sign and digits, in the range of an int32. Blanks
// around it are gone already.
func parseNumber(value []byte) number {
	malformed := number{present: true}
	digits, negative := value, false
	if len(value) > 0 && (value[0] == '-' || value[0] == '+') {
		digits, negative = value[1:], value[0] == '-'
	}
	if len(digits) == 0 {
		return malformed
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return malformed
		}
		n = n*10 + int64(c-'0')
		if n > -math.MinInt32 {
			return malformed
		}
	}
	if negative {
		n = -n
	}
	if n > math.MaxInt32 {
		return malformed
	}
	return number{present: true, valid: true, value: int32(n)}
}

// listHasClose reports whether "close" is among the comma-separated tokens of a Connection header.
func listHasClose(list []byte) bool {
	for more := true; more; {
		var token []byte
		token, list, more = bytes.Cut(list, []byte(","))
		if equalFold(trimBlanks(token), "close") {
			return true
		}
	}
	return false
}

// equalFold compares b with lower, which must be in lower case, without regard to the case of ASCII letters.
// bytes.EqualFold goes by Unicode, where U+212A is a k: not wanted in a protocol.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isControl(c byte) bool { return c < ' ' || c == 0x7f }

// hasControl reports whether b has a control byte: 0x00 to 0x1f or DEL. Every byte of a request's head passes here,
// hence eight at a time.
func hasControl(b []byte) bool {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		// Subtracting borrows into the high bit of each byte that is too small; bytes that have that bit anyway, 0x80
		// and up, are text and masked out. A borrow can run on into the next byte, but only from a byte that counts.
		low := x - ones*' '
		del := x ^ ones*0x7f - ones // DEL, and only DEL, is zero before the subtraction
		if (low|del)&^x&high != 0 {
			return true
		}
	}
	for _, c := range b {
		if isControl(c) {
			return true
		}
	}
	return false
}

// hasControlButTab is hasControl for header values, which may contain tabs.
func hasControlButTab(b []byte) bool {
	if !hasControl(b) {
		return false
	}
	for _, c := range b {
		if isControl(c) && c != '\t' {
			return true
		}
	}
	return false
}
