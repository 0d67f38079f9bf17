package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// batch is how many chunks go to the file at once.
const batch = 16

// Writer writes a snapshot. It is for one goroutine. The first error stays; Abort is to be called whatever comes.
type Writer struct {
	// Aside is where Commit has put a snapshot that nobody had read, or "".
	Aside string

	dir    *Dir
	f      *os.File // nil: committed, or aborted
	stream stream
	start  time.Time
	buf    []byte // sealed chunks, and from open on the contents of the next
	open   int
	size   int64
	err    error
}

// Create begins a snapshot, encrypted with the secret, or, if that is nil, with a key of its own that lies beside it. Nothing is seen of it
// before Commit.
func (d *Dir) Create(secret []byte) (*Writer, error) {
	w, err := d.create(secret)
	if err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	return w, nil
}

func (d *Dir) create(secret []byte) (*Writer, error) {
	if secret == nil {
		var err error
		if secret, err = d.makeOwnSecret(); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(d.file(tmpName)); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a Writer that was never ended
		return nil, err
	}
	f, err := createPrivate(d.file(tmpName))
	if err != nil {
		return nil, err
	}
	header, key := newHeader(secret)
	w := &Writer{dir: d, f: f, stream: newStream(key, header), start: time.Now(), buf: make([]byte, 0, headerSize+batch*sealedSize)}
	w.buf = append(w.buf, header...)
	w.open = len(w.buf)
	w.write(binary.BigEndian.AppendUint64(nil, uint64(w.start.UnixMicro())))
	d.at("created")
	return w, nil
}

// Add writes a session. Its times are those of now.
func (w *Writer) Add(r *Record, body []byte) error {
	if len(r.Key) > maxKey || len(body) > maxBody {
		return errors.New("write snapshot: a session larger than any")
	}
	var head [headLen + headSize]byte
	w.write(appendHead(head[:0], r, time.Since(w.start), len(body)))
	w.write(r.Key)
	w.write(body)
	return w.failure()
}

// write adds contents. A chunk is sealed only when more comes, since the last one is sealed differently.
func (w *Writer) write(p []byte) {
	for len(p) > 0 && w.err == nil {
		room := chunkSize - (len(w.buf) - w.open)
		if room == 0 {
			w.seal(false)
			continue
		}
		n := min(room, len(p))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
	}
}

func (w *Writer) seal(last bool) {
	w.buf = w.stream.seal(w.buf, w.open, last)
	if w.open = len(w.buf); last || cap(w.buf)-w.open < sealedSize {
		n, err := w.f.Write(w.buf)
		w.size += int64(n)
		w.fail(err)
		w.buf, w.open = w.buf[:0], 0
	}
}

// Commit makes it the folder's snapshot, and returns when that is on disk, with the file's size. If anything goes wrong, what was there before stays.
func (w *Writer) Commit() (size int64, err error) {
	if w.f == nil {
		return 0, errors.New("write snapshot: it has ended")
	}
	if w.err == nil {
		w.seal(true)
	}
	w.dir.at("written")
	if w.err == nil {
		w.fail(w.f.Sync())
		w.dir.at("synced")
	}
	w.fail(w.f.Close())
	if w.err == nil {
		w.fail(w.setAside())
	}
	if w.err == nil {
		w.fail(w.dir.rename(tmpName, fileName))
	}
	if w.err != nil {
		_ = os.Remove(w.dir.file(tmpName))
	}
	w.f = nil
	w.dir.at("committed")
	return w.size, w.failure()
}

// setAside gives a snapshot that was not consumed another name.
func (w *Writer) setAside() error {
	old := w.dir.file(fileName)
	if _, err := os.Lstat(old); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	aside := w.dir.file(unreadName + time.Now().UTC().Format("20060102T150405.000"))
	// A second name, where the file system can: so there is a snapshot at every moment.
	if err := os.Link(old, aside); err != nil {
		if err := renameDurably(old, aside); err != nil {
			return err
		}
	}
	w.Aside = aside
	w.dir.at("set aside")
	return nil
}

// Abort drops it, unless it is committed.
func (w *Writer) Abort() {
	if w.f == nil {
		return
	}
	_ = w.f.Close()
	_ = os.Remove(w.dir.file(tmpName))
	w.f = nil
}

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *Writer) failure() error {
	if w.err == nil {
		return nil
	}
	return fmt.Errorf("write snapshot: %w", w.err)
}
