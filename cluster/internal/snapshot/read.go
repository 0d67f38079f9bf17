package snapshot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// What may be wrong with a file. It is left alone.
var (
	ErrForeign  = errors.New("not a snapshot of statemesh, or of a later version")
	ErrOtherKey = errors.New("written with a key that this node does not have")
	ErrDamaged  = errors.New("damaged, or cut off")
)

// Reader reads a snapshot. It is for one goroutine.
//
//	r, err := dir.Open(each, secrets...) fs.ErrNotExist: there is none
//	defer r.Close()
//	err = r.Consume()                    from now on it can be read once, by this Reader
//	for { rec, err := r.Next(); ... io.ReadFull(r, body[:rec.Size]) }
//	err = r.Done()
type Reader struct {
	Sessions int       // in the file, expired ones included
	Bytes    int64     // of their bodies
	Written  time.Time // by the wall clock
	Expired  int       // passed over by Next so far

	dir     *Dir
	secrets [][]byte
	f       *os.File // open between Consume and Close
	decoder
}

// Open looks for a snapshot, written with one of the secrets or the folder's own key, and checks the whole of it: sessions come back all
// or not at all. The file stays as it is. each, unless nil, is told of every session in it that has not expired: there may be no room for
// them all.
func (d *Dir) Open(each func(key []byte, size int), secrets ...[]byte) (*Reader, error) {
	r := &Reader{dir: d, secrets: slices.Clip(secrets)}
	if own, err := d.ownSecret(); err == nil {
		r.secrets = append(r.secrets, own)
	}
	if err := r.check(each); err != nil {
		return nil, fmt.Errorf("read snapshot %s: %w", d.file(fileName), err)
	}
	return r, nil
}

// check reads the file once through. It does not stay open, since Windows does not let an open file be renamed.
func (r *Reader) check(each func(key []byte, size int)) error {
	if err := r.open(fileName); err != nil {
		return err
	}
	defer r.Close()
	for {
		rec, err := r.record()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		r.Sessions++
		r.Bytes += int64(rec.Size)
		if each != nil && rec.TimeLeft > 0 {
			each(rec.Key, rec.Size)
		}
	}
}

func (r *Reader) open(name string) error {
	f, err := os.Open(r.dir.file(name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fs.ErrNotExist
		}
		return err
	}
	r.f = f
	info, err := f.Stat()
	if err != nil {
		r.Close()
		return err
	}
	if r.decoder, err = newDecoder(f, info.Size(), r.secrets); err != nil {
		r.Close()
		return err
	}
	r.Written = r.decoder.written
	return nil
}

// Consume takes the file out of the way of every later start. It returns when that is on disk; sessions may be served only then.
func (r *Reader) Consume() error {
	if err := r.dir.rename(fileName, adoptingName); err != nil {
		return fmt.Errorf("adopt snapshot: %w", err)
	}
	r.dir.at("consumed")
	if err := r.open(adoptingName); err != nil {
		return fmt.Errorf("adopt snapshot: %w", err)
	}
	return nil
}

// Next returns the next session that has not expired, with the times of now, or io.EOF. Its Key is good until the following Next; its
// body is what Read reads, or else passed over.
func (r *Reader) Next() (Record, error) {
	if r.f == nil {
		return Record{}, errors.New("read snapshot: it is not consumed, or closed")
	}
	for {
		rec, err := r.record()
		if err == nil && rec.TimeLeft <= 0 {
			r.Expired++
			continue
		}
		if err != nil && err != io.EOF {
			err = fmt.Errorf("read snapshot: %w", err)
		}
		return rec, err
	}
}

// Done removes what was consumed.
func (r *Reader) Done() error {
	r.Close()
	if err := os.Remove(r.dir.file(adoptingName)); err != nil {
		return fmt.Errorf("remove adopted snapshot: %w", err)
	}
	r.dir.at("removed")
	return nil
}

// Close ends reading. What was consumed and is not Done will be removed by the next Use of the folder, unread.
func (r *Reader) Close() {
	if r.f != nil {
		_ = r.f.Close()
		r.f = nil
	}
}

// decoder turns a file's bytes into records.
type decoder struct {
	in      *bufio.Reader
	left    int64 // bytes of the file behind in
	stream  stream
	chunk   []byte // the contents of the present chunk that are still to come
	buf     []byte // chunk's memory
	body    int    // bytes of the present record's body still to come
	key     []byte
	written time.Time
	opened  time.Time
}

// newDecoder reads the header of a file of this size.
func newDecoder(in io.Reader, size int64, secrets [][]byte) (decoder, error) {
	d := decoder{in: bufio.NewReaderSize(in, 1<<20), opened: time.Now()}
	header := make([]byte, headerSize)
	n, err := io.ReadFull(d.in, header)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return d, err
	}
	known := string(header[:min(n, len(magic))])
	switch {
	case n > 0 && !strings.HasPrefix(magic, known), n > len(magic) && header[len(magic)] != version:
		return d, ErrForeign
	case n < headerSize:
		return d, ErrDamaged
	}
	key := keyOf(header, secrets)
	if key == nil {
		return d, ErrOtherKey
	}
	d.stream = newStream(key, header)
	d.left = size - int64(headerSize)
	d.buf = make([]byte, sealedSize)
	var start [startSize]byte
	if err := d.full(start[:]); err != nil {
		return d, damaged(err)
	}
	d.written = time.UnixMicro(int64(binary.BigEndian.Uint64(start[:])))
	return d, nil
}

// record reads the next one, up to its body. Only between two of them may the contents end.
func (d *decoder) record() (Record, error) {
	for d.body > 0 { // what was not read of the last one
		n, err := d.some(d.body)
		if err != nil {
			return Record{}, damaged(err)
		}
		d.body -= len(n)
	}
	var head [headSize]byte
	if err := d.full(head[:headLen]); err != nil {
		if err == io.EOF {
			return Record{}, io.EOF
		}
		return Record{}, damaged(err)
	}
	length := int(binary.BigEndian.Uint16(head[:]))
	if length < headSize {
		return Record{}, ErrDamaged
	}
	if err := d.full(head[:]); err != nil {
		return Record{}, damaged(err)
	}
	for length -= headSize; length > 0; { // fields of a later version
		n, err := d.some(length)
		if err != nil {
			return Record{}, damaged(err)
		}
		length -= len(n)
	}
	r, when, key, err := parseHead(head[:])
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	d.key = slices.Grow(d.key[:0], key)[:key]
	if err := d.full(d.key); err != nil {
		return Record{}, damaged(err)
	}
	r.Key, d.body = d.key, r.Size
	d.age(&r, when)
	return r, nil
}

// age makes a record's times those of now. Where the clock was set back, no time has passed while no node ran.
func (d *decoder) age(r *Record, when time.Duration) {
	passed := max(0, d.opened.Sub(d.written)-when) + time.Since(d.opened)
	r.TimeLeft -= passed
	if r.Locked {
		r.LockAge += passed
	}
}

// Read reads the present session's body.
func (d *decoder) Read(p []byte) (int, error) {
	if d.body == 0 {
		return 0, io.EOF
	}
	c, err := d.some(min(len(p), d.body))
	if err != nil {
		return 0, fmt.Errorf("read snapshot: %w", damaged(err))
	}
	d.body -= len(c)
	return copy(p, c), nil
}

// full reads all of p. Its error is io.EOF only if there was nothing.
func (d *decoder) full(p []byte) error {
	for read := 0; read < len(p); {
		c, err := d.some(len(p) - read)
		if err == io.EOF && read > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		read += copy(p[read:], c)
	}
	return nil
}

// some returns up to n bytes of the contents, and at least one unless n is 0; io.EOF at their end.
func (d *decoder) some(n int) ([]byte, error) {
	if n > 0 && len(d.chunk) == 0 {
		if err := d.decrypt(); err != nil {
			return nil, err
		}
	}
	n = min(n, len(d.chunk))
	c := d.chunk[:n]
	d.chunk = d.chunk[n:]
	return c, nil
}

// decrypt reads the next chunk. Nothing of one leaves here before its tag has been found right.
func (d *decoder) decrypt() error {
	if d.left == 0 && d.stream.next > 0 {
		return io.EOF
	}
	size := min(d.left, sealedSize)
	last := d.left == size
	if size <= tagSize { // even an empty snapshot has a time of writing, and a chunk that follows is begun only with contents for it
		return ErrDamaged
	}
	sealed := d.buf[:size]
	if _, err := io.ReadFull(d.in, sealed); err != nil {
		return err
	}
	d.left -= size
	var err error
	if d.chunk, err = d.stream.open(sealed, last); err != nil {
		return ErrDamaged
	}
	return nil
}

// damaged makes what is an early end of the contents that.
func damaged(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrDamaged
	}
	return err
}
