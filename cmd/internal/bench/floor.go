package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

// The floor is the least a server in Go can do that speaks the protocol: a goroutine for each connection finds the end of a
// request's head, reads its body over the last one's, and writes an answer that was made beforehand. It stores nothing.

// floor has the canned answers.
type floor struct {
	acquired, got, done []byte
}

func newFloor(size int) *floor {
	const version, private = "200 OK\r\nX-AspNet-Version: 4.0.30319\r\n", "Cache-Control: private\r\nContent-Length: "
	body := stamp(newFiller(size), size, 0, 0, 0)
	answer := func(headers string, body []byte) []byte {
		return append([]byte(version+headers+private+strconv.Itoa(len(body))+"\r\n\r\n"), body...)
	}
	return &floor{
		acquired: answer("LockCookie: 100\r\nTimeout: 20\r\n", body),
		got:      answer("Timeout: 20\r\n", body),
		done:     answer("", nil),
	}
}

// ServeFloor serves the floor with bodies of size bytes on a free port of the loopback interface, says its address in one line on
// out, and returns when in ends: so it cannot outlive the process that started it.
func ServeFloor(in io.Reader, out io.Writer, size int) error {
	if size < headerLen || size > maxResponseBody {
		return usagef("size: %d is not in %d to %d", size, headerLen, maxResponseBody)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	f := newFloor(size)
	accepting := make(chan error, 1)
	go func() { accepting <- f.accept(l) }()
	fmt.Fprintln(out, l.Addr())
	io.Copy(io.Discard, in)
	l.Close()
	return <-accepting
}

func (f *floor) accept(l net.Listener) error {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "accept:", err)
			return err
		}
		go f.serve(nc) // ends with its connection, at the latest with the process
	}
}

func (f *floor) serve(nc net.Conn) {
	defer nc.Close()
	buf := make([]byte, 64<<10)
	have := 0 // bytes in buf
	for {
		head := bytes.Index(buf[:have], []byte("\r\n\r\n"))
		if head < 0 {
			n, err := nc.Read(buf[have:])
			if n == 0 && err != nil || have+n == len(buf) && !bytes.Contains(buf, []byte("\r\n\r\n")) {
				return
			}
			have += n
			continue
		}
		end := head + 4 + contentLength(buf[:head+2])
		answer := f.answer(buf[:head+4])
		for have < end { // the rest of the body, over what is there
			n, err := nc.Read(buf[:min(len(buf), end-have)])
			if n == 0 && err != nil {
				return
			}
			end -= n
		}
		have = copy(buf, buf[end:have])
		if _, err := nc.Write(answer); err != nil {
			return
		}
	}
}

func (f *floor) answer(head []byte) []byte {
	switch {
	case head[0] != 'G':
		return f.done
	case bytes.HasSuffix(head, []byte("acquire\r\n\r\n")):
		return f.acquired
	case bytes.Contains(head, []byte("release\r\n")):
		return f.done
	default:
		return f.got
	}
}

func contentLength(head []byte) (n int) {
	const name = "\r\nContent-Length:"
	if head[0] != 'P' {
		return 0
	}
	at := bytes.Index(head, []byte(name))
	if at < 0 {
		return 0
	}
	for _, c := range head[at+len(name):] {
		if c == '\r' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
