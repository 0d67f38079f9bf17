package bench

import "strconv"

// The requests, with headers in the order and the spacing in which a web server was seen to send them: a space after the colon
// of Host and Exclusive, none after the others'.

// request is one kind of request, complete but for the session id and for what append adds behind.
type request struct {
	buf []byte
	id  int // where the session id goes
	end int // of the part that does not change
}

func newRequest(verb, prefix, headers string) request {
	head := verb + " " + prefix
	r := request{id: len(head)}
	r.buf = append(r.buf, head...)
	r.buf = append(r.buf, make([]byte, idLen)...)
	r.buf = append(r.buf, " HTTP/1.1\r\nHost: localhost\r\n"+headers...)
	r.end = len(r.buf)
	return r
}

// to addresses the request to a session.
func (r *request) to(id *[idLen]byte) []byte {
	copy(r.buf[r.id:], id[:])
	return r.buf[:r.end]
}

// keep takes over the buffer that append may have moved, so that the next request allocates nothing.
func (r *request) keep(b []byte) []byte {
	r.buf = b
	return b
}

// requests are one connection's.
type requests struct {
	get, acquire, release, set, remove, touch request

	// out holds the Set that is being sent: its head ends where its body begins, at out[bodyAt].
	out    []byte
	bodyAt int
}

func newRequests(app string, maxBody int) *requests {
	prefix := targetPrefix(app)
	q := &requests{
		get:     newRequest("GET", prefix, "\r\n"),
		acquire: newRequest("GET", prefix, "Exclusive: acquire\r\n\r\n"),
		release: newRequest("GET", prefix, "Exclusive: release\r\nLockCookie:"),
		set:     newRequest("PUT", prefix, "Timeout:"),
		remove:  newRequest("DELETE", prefix, "LockCookie:"),
		touch:   newRequest("HEAD", prefix, "\r\n"),
	}
	q.bodyAt = q.set.end + 128
	q.out = append(make([]byte, q.bodyAt), newFiller(maxBody)...)
	return q
}

func (q *requests) releaseOf(id *[idLen]byte, cookie int32) []byte {
	return q.release.keep(appendCookie(q.release.to(id), cookie))
}

func (q *requests) removeOf(id *[idLen]byte, cookie int32) []byte {
	return q.remove.keep(appendCookie(q.remove.to(id), cookie))
}

func appendCookie(b []byte, cookie int32) []byte {
	return append(strconv.AppendInt(b, int64(cookie), 10), "\r\n\r\n"...)
}

// bodyOf returns the body of a session's version, n bytes. It is overwritten by the next call.
func (q *requests) bodyOf(n int, seed uint64, session, version uint32) []byte {
	return stamp(q.out[q.bodyAt:], n, seed, session, version)
}

// setOf returns the request that stores the first n bytes at out[bodyAt], which are not moved: only the head is put before them.
func (q *requests) setOf(id *[idLen]byte, n int, minutes, flags int, cookie int32) []byte {
	b := strconv.AppendInt(q.set.to(id), int64(minutes), 10)
	b = strconv.AppendInt(append(b, "\r\nContent-Length:"...), int64(n), 10)
	b = strconv.AppendInt(append(b, "\r\nExtraFlags:"...), int64(flags), 10)
	b = strconv.AppendInt(append(b, "\r\nLockCookie:"...), int64(cookie), 10)
	b = q.set.keep(append(b, "\r\n\r\n"...))
	start := q.bodyAt - len(b)
	copy(q.out[start:], b)
	return q.out[start : q.bodyAt+n]
}
