package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// entry is a session with its body.
type entry struct {
	Record
	body []byte
}

func (e entry) String() string {
	return fmt.Sprintf("%q epoch %d lock %v/%d/%v timeout %d left %v new %v, %d bytes", e.Key, e.Epoch, e.Locked, e.Cookie, e.LockAge, e.Timeout,
		e.TimeLeft, e.New, len(e.body))
}

// sessions makes n of them, of all sorts; the bodies are up to so large.
func sessions(n, largest int) []entry {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(largest)))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	all := make([]entry, n)
	for i := range all {
		e := entry{body: random(rng.IntN(largest + 1))}
		e.Key = append([]byte(fmt.Sprintf("/LM/W3SVC/1/ROOT(%d)/", i)), random(rng.IntN(40))...)
		e.Epoch = rng.Uint64()
		e.Cookie = int32(rng.Uint32())
		e.Timeout = rng.Int32N(525600)
		e.TimeLeft = time.Minute + time.Duration(rng.Int64N(int64(time.Hour)))
		e.New = rng.IntN(4) == 0
		if e.Locked = rng.IntN(3) == 0; e.Locked {
			e.LockAge = time.Duration(rng.Int64N(int64(time.Minute)))
		}
		e.Size = len(e.body)
		all[i] = e
	}
	return all
}

var secret = bytes.Repeat([]byte("secret"), 6)[:32]

// inUse is a folder in use until the test ends.
func inUse(t testing.TB, path string) *Dir {
	t.Helper()
	d, err := Use(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// save writes a snapshot.
func (d *Dir) save(t testing.TB, secret []byte, all []entry) *Writer {
	t.Helper()
	w, err := d.Create(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range all {
		if err := w.Add(&all[i].Record, all[i].body); err != nil {
			t.Fatal(err)
		}
	}
	size, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(d.file(fileName)); err != nil || info.Size() != size {
		t.Fatalf("the file: %v, error %v; want %d bytes", info, err, size)
	}
	return w
}

// load reads a snapshot, all of it, and removes it.
func (d *Dir) load(secrets ...[]byte) ([]entry, error) {
	r, err := d.Open(nil, secrets...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Consume(); err != nil {
		return nil, err
	}
	all, err := r.rest()
	if err != nil {
		return nil, err
	}
	if len(all)+r.Expired != r.Sessions {
		return nil, fmt.Errorf("%d sessions came, %d expired; want %d", len(all), r.Expired, r.Sessions)
	}
	return all, r.Done()
}

// rest reads what is left.
func (r *Reader) rest() ([]entry, error) {
	var all []entry
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		e := entry{Record: rec, body: make([]byte, rec.Size)}
		e.Key = bytes.Clone(rec.Key)
		if _, err := io.ReadFull(r, e.body); err != nil && rec.Size > 0 {
			return all, err
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return all, errors.New("the body goes on behind its end")
		}
		all = append(all, e)
	}
}

// same fails the test unless got is want, a little later.
func same(t testing.TB, got, want []entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d sessions; want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		late := w.TimeLeft - g.TimeLeft
		if late < 0 || late > 30*time.Second {
			t.Fatalf("session %d has %v left; want a little less than %v", i, g.TimeLeft, w.TimeLeft)
		}
		if older := g.LockAge - w.LockAge; w.Locked && (older < 0 || older > 30*time.Second) || !w.Locked && older != 0 {
			t.Fatalf("session %d, locked %v: age %v; want a little more than %v", i, w.Locked, g.LockAge, w.LockAge)
		}
		g.TimeLeft, g.LockAge = w.TimeLeft, w.LockAge
		if !bytes.Equal(g.body, w.body) || g.String() != w.String() {
			t.Fatalf("session %d is\n%v; want\n%v", i, g, w)
		}
	}
}

// copyDir copies a folder as it is: what a machine that stops now leaves.
func copyDir(t testing.TB, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	for _, name := range names(t, from) {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// names are the files in a folder, but for the lock.
func names(t testing.TB, path string) (all []string) {
	t.Helper()
	list, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Name() != "snapshot.lock" {
			all = append(all, e.Name())
		}
	}
	return all
}

func isNone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
