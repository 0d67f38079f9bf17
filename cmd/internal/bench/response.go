package bench

import (
	"bytes"
	"errors"
)

// response is the head of one response, as far as a web server looks at it.
type response struct {
	status  int
	cookie  int32 // the lock's; noCookie if there is none
	length  int   // of the body that follows
	version bool  // it says X-AspNet-Version, without which a web server refuses its state server
}

const (
	noCookie        = -1
	maxResponseHead = 16 << 10
	maxResponseBody = 1 << 30
)

var errMalformed = errors.New("the answer is not a state server's")

// parseResponse looks for a response's head at the start of b and returns its length, or 0 if it has not arrived in full. The
// status line may be Microsoft's ("200 OK") or HTTP's ("HTTP/1.1 200 OK").
func parseResponse(b []byte, r *response) (n int, err error) {
	*r = response{cookie: noCookie}
	for {
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			if len(b) > maxResponseHead {
				return 0, errMalformed
			}
			return 0, nil
		}
		line := b[n : n+end]
		n += end + 1
		if end == 0 || line[end-1] != '\r' {
			return 0, errMalformed
		}
		line = line[:end-1]
		switch {
		case r.status == 0:
			r.status, err = parseStatus(line)
		case len(line) == 0:
			return n, nil
		default:
			err = r.header(line)
		}
		if err != nil {
			return 0, err
		}
	}
}

func parseStatus(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("HTTP/1.")) {
		_, line, _ = bytes.Cut(line, []byte(" "))
	}
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' {
		return 0, errMalformed
	}
	status, err := parseInt(line[:3])
	if err != nil || status < 100 {
		return 0, errMalformed
	}
	return int(status), nil
}

// header takes in one header line. The length of a name tells those of interest apart.
func (r *response) header(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return errMalformed
	}
	name, value := line[:colon], line[colon+1:]
	switch {
	case colon == len("LockCookie") && equalFold(name, "LockCookie"):
		cookie, err := parseInt(value)
		if err != nil || cookie != int64(int32(cookie)) {
			return errMalformed
		}
		r.cookie = int32(cookie)
	case colon == len("Content-Length") && equalFold(name, "Content-Length"):
		length, err := parseInt(value)
		if err != nil || length < 0 || length > maxResponseBody {
			return errMalformed
		}
		r.length = int(length)
	case colon == len("X-AspNet-Version") && equalFold(name, "X-AspNet-Version"):
		r.version = true
	}
	return nil
}

func equalFold(name []byte, want string) bool {
	return string(name) == want || bytes.EqualFold(name, []byte(want))
}

// parseInt reads a decimal number with blanks around it. (strconv would need a string.)
func parseInt(b []byte) (n int64, err error) {
	b = bytes.TrimSpace(b)
	digits, negative := bytes.CutPrefix(b, []byte("-"))
	if len(digits) == 0 || len(digits) > 18 {
		return 0, errMalformed
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, errMalformed
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, nil
}
