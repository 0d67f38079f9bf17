package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"statemesh/cluster"
)

// An event loop serves many connections by one goroutine, which asks the kernel for all that have something to read and serves each in turn.
// Against a goroutine for each connection that saves, per request, the read which says that nothing has come yet, a switch of
// goroutines, and most of asking who is ready.
//
// A loop must never wait for one connection, so what would wait leaves it (leave): its socket becomes an ordinary net.Conn
// and a goroutine goes on with the request from exactly where it was. When that has been answered, the connection comes back (take).
//
// Descriptors are numbers, and a number is used again as soon as it has been closed. Hence the loop alone closes its connections'; others may
// interrupt one (socket), and the loop then finds it ended.

// loops are the event loops of a node. A nil one takes no connection.
type loops struct {
	all  []*loop
	next atomic.Uint32
	wg   sync.WaitGroup
}

// loop is one of them. Its fields belong to its goroutine unless said otherwise.
type loop struct {
	conns  *connections
	poller *poller
	open   map[int32]*loopConn // by descriptor
	timed  bool                // some of them have a time limit
	tired  []*loopConn         // that have had their turn, and have more requests in their buffers

	mu       sync.Mutex // guards the rest
	incoming []*loopConn
	found    []found
	endIdle  bool // to do
	ended    bool
}

// found is what other nodes say of the session that a connection's request is for.
type found struct {
	conn   *loopConn
	answer cluster.Answer
}

// startLoops starts as many loops as goroutines can run at a time.
func startLoops(conns *connections) (*loops, error) {
	ls := &loops{}
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make event loop: %w", err), ls.stop(context.Background()))
		}
		l := &loop{conns: conns, poller: p, open: map[int32]*loopConn{}}
		ls.all = append(ls.all, l)
		ls.wg.Go(l.run)
	}
	return ls, nil
}

// stop ends the loops. Their connections have ended before.
func (ls *loops) stop(context.Context) error {
	for _, l := range ls.all {
		l.end()
	}
	ls.wg.Wait()
	return nil
}

// endIdle has the loops end their connections but for those with a request under way, be it that it has just come and nobody has looked at
// it. The node is stopping.
func (ls *loops) endIdle() {
	if ls == nil {
		return
	}
	for _, l := range ls.all {
		l.mu.Lock()
		if !l.ended {
			l.endIdle = true
			l.poller.wake()
		}
		l.mu.Unlock()
	}
}

// take hands a connection to a loop, between two requests and with nothing in its buffer. If it cannot, it returns false, and the connection
// is the caller's as before.
func (ls *loops) take(c *conn) bool {
	if ls == nil {
		return false
	}
	return ls.all[ls.next.Add(1)%uint32(len(ls.all))].take(c)
}

func (l *loop) take(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	s := c.enterLoop(l)
	if s == nil {
		return false
	}
	l.incoming = append(l.incoming, s)
	l.poller.wake()
	return true
}

// answer passes on what other nodes say; from any goroutine.
func (l *loop) answer(s *loopConn, a cluster.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		s.conn.mesh.Done(a)
		return
	}
	l.found = append(l.found, found{s, a})
	l.poller.wake()
}

// end makes run return.
func (l *loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.poller.wake()
}

// run serves connections until end.
func (l *loop) run() {
	defer l.poller.close()
	for {
		events, due := l.poller.wait(l.timed)
		for i := range events {
			fd := events[i].Fd
			if fd == l.poller.waker {
				if l.admit() {
					return
				}
			} else if s := l.open[fd]; s != nil && s.conn.phase == fetching {
				l.ignore(s)
			} else if s != nil && !s.tired { // or it gets the turn that it has coming, and no other
				// It may be another than the event's, one that has come since and was given the number of one that has ended.
				// Then there is nothing to read, and no harm done.
				l.serveAnew(s)
			}
		}
		if due {
			l.sweep()
		}
	}
}

// admit takes in who has come, and tells whether the loop is to end.
func (l *loop) admit() (ended bool) {
	l.mu.Lock()
	incoming, answers := l.incoming, l.found
	l.incoming, l.found = nil, nil
	endIdle := l.endIdle
	l.endIdle = false
	ended = l.ended
	l.mu.Unlock()
	for _, s := range incoming {
		l.open[s.fd] = s
		if err := l.poller.add(s.fd); err != nil {
			l.leave(s, nil)
			continue
		}
		l.serve(s) // there is nothing to read yet: it becomes idle, or learns that the node is stopping
	}
	for _, f := range answers {
		l.resume(f.conn, f.answer)
	}
	l.serveTired()
	if endIdle {
		for _, s := range l.open {
			if s.conn.phase == awaited {
				l.serveAnew(s) // to look once more
			}
		}
	}
	if ended {
		for _, s := range l.open { // none, unless the node stops by force
			l.part(s, errStopping)
		}
	}
	return ended
}

// fetch asks other nodes for the session of the request under way; resume will be called with what they say.
func (s *loopConn) fetch(want cluster.Request) {
	s.conn.mesh.FetchThen(want, func(a cluster.Answer) { s.loop.answer(s, a) })
}

// ignore does not listen to a web server that goes on speaking, or hangs up, while others are asked for the session it wants.
func (l *loop) ignore(s *loopConn) {
	if s.conn.cut.Load() {
		l.part(s, errCut)
		return
	}
	l.poller.remove(s.fd)
	s.ignored = true
}

// resume goes on with a request that others were asked for.
func (l *loop) resume(s *loopConn, a cluster.Answer) {
	if s.fd == closedFD { // it was ended by force
		s.conn.mesh.Done(a)
		return
	}
	s.conn.found = a
	if s.ignored {
		s.ignored = false
		if err := l.poller.add(s.fd); err != nil {
			l.leave(s, nil)
			return
		}
	}
	l.serveAnew(s)
}

// serveTired lets those have another turn who have had one, now that everybody else has.
func (l *loop) serveTired() {
	tired := l.tired
	l.tired = nil
	for _, s := range tired {
		s.tired = false
		if s.fd != closedFD { // else it has been ended meanwhile
			l.serveAnew(s)
		}
	}
}

// serveAnew gives a connection a turn.
func (l *loop) serveAnew(s *loopConn) {
	s.readable, s.turn = true, turnBytes
	l.serve(s)
}

// serve goes on with a connection until it would have to wait.
func (l *loop) serve(s *loopConn) {
	err := s.conn.serveRequests()
	if err == nil {
		err = s.conn.beginRequest()
	}
	switch {
	case err == nil, err == errUnready:
		l.timed = l.timed || s.conn.clock.by > 0
	case err == errFetching:
	case err == errTired:
		if !s.tired {
			s.tired = true
			l.tired = append(l.tired, s)
			l.poller.wake()
		}
	case err == errMustWait:
		l.leave(s, nil)
	case s.conn.mayHaveUnread(err): // to linger is to wait
		l.leave(s, err)
	default:
		l.part(s, err)
	}
}

// leave lets a goroutine go on with a connection, or end it if there is an error.
func (l *loop) leave(s *loopConn, err error) {
	delete(l.open, s.fd)
	l.poller.remove(s.fd)
	if failed := s.conn.leaveLoop(); failed != nil {
		l.conns.end(s.conn, failed)
		return
	}
	l.conns.wg.Go(func() {
		if err != nil {
			l.conns.end(s.conn, err)
			return
		}
		l.conns.serve(s.conn)
	})
}

// part ends a connection.
func (l *loop) part(s *loopConn, err error) {
	delete(l.open, s.fd)
	l.conns.end(s.conn, err)
}

// sweep ends the connections whose web servers have kept us waiting for too long.
func (l *loop) sweep() {
	l.timed = false
	for _, s := range l.open {
		if err := s.conn.overdue(); err != nil {
			l.part(s, err)
		} else if s.conn.clock.by > 0 {
			l.timed = true
		}
	}
}

// overdue tells a loop whether its connection has waited for too long.
func (c *conn) overdue() error {
	k := &c.clock
	switch {
	case k.by == 0 || k.now() < k.by:
		return nil
	case c.phase == awaited:
		return errIdle
	}
	return errStalled
}

// enterLoop gives the connection a socket that does not wait; nil if it cannot have one.
//
// Closed while it is at it, which Stop may do, it notices: it duplicates either an open descriptor, and then Stop finds the new socket,
// or a closed one, which fails.
func (c *conn) enterLoop(l *loop) *loopConn {
	c.ncMu.Lock()
	defer c.ncMu.Unlock()
	tcp, ok := c.nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	fd, err := duplicate(tcp)
	if err != nil {
		return nil
	}
	s := &loopConn{conn: c, loop: l, fd: int32(fd)}
	c.nc, c.mayWait, c.ops = s, false, c.store.Try()
	tcp.Close() // the socket lives on
	return s
}

// duplicate returns another descriptor of a connection's socket, which Go's own poller does not know. It does not block either: that
// is the socket's, not the descriptor's.
func duplicate(tcp *net.TCPConn) (int, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var dup int
	var failed error
	if err := raw.Control(func(fd uintptr) { dup, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return 0, err
	}
	return dup, failed
}

// leaveLoop gives the connection a socket that waits. If it cannot, the socket is closed.
func (c *conn) leaveLoop() error {
	c.ncMu.Lock()
	defer c.ncMu.Unlock()
	s := c.nc.(*loopConn)
	f := os.NewFile(uintptr(s.fd), "")
	nc, err := net.FileConn(f) // with a descriptor of its own
	f.Close()
	s.fd = closedFD
	if err != nil {
		return err
	}
	c.nc, c.mayWait, c.ops = nc, true, c.store
	c.clock.readBy, c.clock.writeBy = 0, 0
	return nil
}

// loopConn is a connection's socket while a loop serves it. Whoever closes it or interrupts it holds conn.ncMu.
type loopConn struct {
	conn     *conn
	loop     *loop
	fd       int32
	readable bool // something has come that may not have been read yet
	ignored  bool // the poller does not say any more that something has come
	tired    bool // it is one of loop.tired
	turn     int  // bytes that may yet be read and written before others are served
	iov      [2]unix.Iovec
}

const (
	// closedFD is no descriptor.
	closedFD = -1
	// turnBytes are read and written for one web server before it is others' turn: it must not have the loop to itself by sending
	// without a pause, or by asking for a large session and reading it fast. It takes less than a millisecond.
	turnBytes = 1 << 20
	// callBytes is what a system call is worth: most of a small request is that.
	callBytes = 16 << 10
)

// isTired tells whether others are to be served before another request of this web server is.
func (s *loopConn) isTired() bool { return s.turn <= 0 }

// Read reads what has come. It does not ask the kernel again once it got less than it asked for: should more have come meanwhile, the
// loop will be told.
func (s *loopConn) Read(p []byte) (int, error) {
	if s.conn.cut.Load() { // what has come by now is not for us any more
		return 0, net.ErrClosed
	}
	if !s.readable {
		return 0, errUnready
	}
	n, err := sysRead(s.fd, p)
	s.turn -= n + callBytes
	s.readable = n == len(p) && s.turn > 0
	switch {
	case err == unix.EAGAIN:
		return 0, errUnready
	case err != 0:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write writes what fits into the socket's buffer. To wait for room, or for another turn in the middle of a large answer, is for a goroutine.
func (s *loopConn) Write(p []byte) (int, error) {
	if s.turn <= 0 && len(p) > callBytes {
		return 0, errMustWait
	}
	n, err := sysWrite(s.fd, p)
	return s.wrote(n, len(p), err)
}

// writeBoth writes two slices with one system call.
func (s *loopConn) writeBoth(a, b []byte) (int, error) {
	if s.turn <= 0 && len(a)+len(b) > callBytes {
		return 0, errMustWait
	}
	s.iov[0].Base, s.iov[1].Base = &a[0], &b[0]
	s.iov[0].SetLen(len(a))
	s.iov[1].SetLen(len(b))
	n, err := sysWritev(s.fd, s.iov[:])
	s.iov = [2]unix.Iovec{} // b is the store's
	return s.wrote(n, len(a)+len(b), err)
}

func (s *loopConn) wrote(n, of int, err unix.Errno) (int, error) {
	s.turn -= n + callBytes
	switch {
	case err == unix.EAGAIN, err == 0 && n < of:
		return n, errMustWait
	case err != 0:
		return 0, os.NewSyscallError("write", err)
	}
	return n, nil
}

// interrupt makes what is read next the last, and whatever is written fail.
func (s *loopConn) interrupt() {
	if s.fd != closedFD {
		unix.Shutdown(int(s.fd), unix.SHUT_RDWR)
	}
}

func (s *loopConn) Close() error {
	if s.fd == closedFD {
		return net.ErrClosed
	}
	err := unix.Close(int(s.fd))
	s.fd = closedFD
	return err
}

// The loop itself watches the time; see conn.overdue.

func (s *loopConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (s *loopConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
