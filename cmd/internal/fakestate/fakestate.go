// Package fakestate reads requests of web servers and writes answers to them in the plainest way there is. It is what the state services have in
// common that tests of packages bench and farm make up: what each of those does with a request, and what it does wrong, is its own. Nothing of what the
// server or the bench is built from is used here, so that none can be wrong in the same way.
package fakestate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Request is one request. Op is its verb, or what an Exclusive header says: GET, acquire, release, PUT, DELETE or HEAD.
type Request struct {
	Op, Key, Body string
	Cookie        int // -1: none
	Flags         int
}

// ReadRequest reads the next request. What a header says that is no number counts as 0.
func ReadRequest(in *bufio.Reader) (r Request, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return r, err
	}
	words := strings.Split(strings.TrimSuffix(line, "\r\n"), " ")
	if len(words) != 3 || words[2] != "HTTP/1.1" {
		return r, errors.New("bad request line")
	}
	r = Request{Op: words[0], Key: words[1], Cookie: -1}
	length := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return r, err
		}
		name, value, found := strings.Cut(strings.TrimSuffix(line, "\r\n"), ":")
		if !found {
			break
		}
		switch name {
		case "Exclusive":
			r.Op = strings.TrimSpace(value)
		case "LockCookie":
			r.Cookie, _ = strconv.Atoi(value)
		case "ExtraFlags":
			r.Flags, _ = strconv.Atoi(value)
		case "Content-Length":
			length, _ = strconv.Atoi(value)
		}
	}
	body := make([]byte, length)
	_, err = io.ReadFull(in, body)
	r.Body = string(body)
	return r, err
}

// Answer is the answer of a status, "200 OK", with more headers, each a whole line, and a body.
func Answer(status, headers, body string) string {
	return fmt.Sprintf("%s\r\nX-AspNet-Version: 4.0.30319\r\n%sCache-Control: private\r\nContent-Length: %d\r\n\r\n%s", status, headers, len(body), body)
}

// Locked is the answer to a request that somebody's lock is in the way of.
func Locked(cookie int) string {
	return Answer("423 Locked", fmt.Sprintf("LockDate: 1\r\nLockAge: 0\r\nLockCookie: %d\r\n", cookie), "")
}

// Read is the answer to a GET.
func Read(body string) string { return Answer("200 OK", "Timeout: 20\r\n", body) }

// Acquired is the answer to an acquire.
func Acquired(cookie int, body string) string {
	return Answer("200 OK", fmt.Sprintf("LockCookie: %d\r\nTimeout: 20\r\n", cookie), body)
}

// Done is the answer to what has been done and returns nothing.
func Done() string { return Answer("200 OK", "", "") }

// NotFound is the answer to a request for what is not there.
func NotFound() string { return Answer("404 Not Found", "", "") }
