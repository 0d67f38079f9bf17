package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Reader takes frames off a connection. It is not safe for concurrent use.
type Reader struct {
	br    *bufio.Reader
	names names
	body  int // bytes of the latest session's that have not been read
}

// NewReader makes one, which reads up to buffer bytes ahead. Frames that are longer cost memory of their own.
func NewReader(r io.Reader, buffer int) *Reader { return &Reader{br: bufio.NewReaderSize(r, buffer)} }

// Buffered is how many bytes have arrived that have not been read.
func (r *Reader) Buffered() int { return r.br.Buffered() }

// Next returns the next message, and skips frames of unknown kinds. A Push's body follows on its head: arrive is called with the head and reads
// the body from the Reader, as much of it as it wants, and returns what the record shall know it by; what it leaves is skipped. So it is for each Push
// of a Convoy. A nil arrive skips everything.
//
// The error is io.EOF if the connection ended between two frames. After an error the Reader is of no use.
func (r *Reader) Next(arrive func(Push) (body any, err error)) (Message, error) {
	for {
		frame, err := r.frame()
		if err != nil {
			return nil, err
		}
		f, k, err := open(frame, &r.names)
		if err == ErrUnknown {
			continue
		}
		if err != nil {
			return nil, err
		}
		switch k {
		case KindPush:
			return r.push(f, arrive)
		case KindConvoy:
			return r.convoy(f, arrive)
		}
		return f.message(k)
	}
}

func (r *Reader) push(f fields, arrive func(Push) (any, error)) (Message, error) {
	p := f.push()
	if f.bad {
		return nil, malformed(KindPush)
	}
	var err error
	if p.Record.Body, err = r.arrived(p, arrive); err != nil {
		return nil, err
	}
	return p, nil // made a Message only now, with its body: once
}

func (r *Reader) convoy(f fields, arrive func(Push) (any, error)) (Message, error) {
	c := f.convoy()
	if f.bad {
		return nil, malformed(KindConvoy)
	}
	for i := range c.Pushes {
		var err error
		if c.Pushes[i].Record.Body, err = r.arrived(c.Pushes[i], arrive); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// arrived sees to the body of a Push.
func (r *Reader) arrived(p Push, arrive func(Push) (any, error)) (body any, err error) {
	r.body = p.Record.Size
	if arrive != nil {
		if body, err = arrive(p); err != nil {
			return nil, err
		}
	}
	skipped, err := r.br.Discard(r.body)
	r.body -= skipped
	return body, cut(err)
}

// Read reads the body of the Push that arrive was called with; io.EOF is its end, not the connection's.
func (r *Reader) Read(p []byte) (int, error) {
	if r.body == 0 {
		return 0, io.EOF
	}
	n, err := r.br.Read(p[:min(len(p), r.body)])
	r.body -= n
	return n, cut(err)
}

// frame is the next frame, valid until the next call of anything.
func (r *Reader) frame() ([]byte, error) {
	head, err := r.br.Peek(headSize)
	if err != nil {
		if len(head) > 0 {
			err = cut(err)
		}
		return nil, err
	}
	size := lengthSize + int64(binary.BigEndian.Uint32(head))
	k := Kind(head[lengthSize])
	switch {
	case size < headSize:
		return nil, errors.New("a frame with nothing in it")
	case size > int64(maxSize(k)):
		return nil, fmt.Errorf("a %v of %d bytes is too long", k, size)
	case size <= int64(r.br.Size()):
		frame, err := r.br.Peek(int(size))
		if err != nil {
			return nil, cut(err)
		}
		_, _ = r.br.Discard(int(size)) // has been seen, so it is there; frame stays as it is until more is read
		return frame, nil
	}
	return r.longFrame(int(size))
}

// longFrame takes memory as the frame arrives, not as its length promises.
func (r *Reader) longFrame(size int) (frame []byte, err error) {
	for len(frame) < size {
		n := len(frame)
		frame = append(frame, make([]byte, min(size-n, max(n, MaxFrame)))...)
		if _, err := io.ReadFull(r.br, frame[n:]); err != nil {
			return nil, cut(err)
		}
	}
	return frame, nil
}

// cut makes the end of a connection in the middle of something an error of its own.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
