package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSnapshot_BringsEverySessionBack(t *testing.T) {
	t.Parallel()
	for name, all := range map[string][]entry{
		"none":           nil,
		"one":            sessions(1, 0),
		"many small":     sessions(3000, 300),
		"some large":     sessions(40, 400_000),
		"larger than it": sessions(3, 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := inUse(t, t.TempDir())
			for range 2 { // and a second time
				if w := d.save(t, secret, all); w.Aside != "" {
					t.Errorf("something was put aside, to %s", w.Aside)
				}
				got, err := d.load(secret)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, all)
				if _, err := d.Open(nil, secret); !isNone(err) {
					t.Errorf("opened again: %v; want that there is none", err)
				}
				if left := names(t, d.path); len(left) != 0 {
					t.Errorf("%v is left", left)
				}
			}
		})
	}
}

// TestSnapshot_EveryLengthAroundAChunk: the end of the contents wanders over the end of a chunk.
func TestSnapshot_EveryLengthAroundAChunk(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	fixed := startSize + headLen + headSize + 1
	for _, chunks := range []int{1, batch, batch + 1} {
		for extra := -3; extra <= 3; extra++ {
			e := entry{Record: Record{Key: []byte("k"), TimeLeft: time.Hour}, body: make([]byte, chunks*chunkSize-fixed+extra)}
			e.Size = len(e.body)
			d.save(t, secret, []entry{e})
			info, err := os.Stat(d.file(fileName))
			if err != nil {
				t.Fatal(err)
			}
			wantChunks := chunks
			if extra > 0 {
				wantChunks++
			}
			if want := int64(headerSize + fixed + len(e.body) + wantChunks*tagSize); info.Size() != want {
				t.Errorf("%d chunks %+d: the file has %d bytes; want %d", chunks, extra, info.Size(), want)
			}
			got, err := d.load(secret)
			if err != nil {
				t.Fatalf("%d chunks %+d: %v", chunks, extra, err)
			}
			same(t, got, []entry{e})
		}
	}
}

func TestSnapshot_BodiesMayBePassedOver(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	all := sessions(50, 100_000)
	d.save(t, secret, all)
	r, err := d.Open(nil, secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err == nil || err == io.EOF {
		t.Errorf("read before it was consumed: %v", err)
	}
	if err := r.Consume(); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		rec, err := r.Next()
		if err != nil || !bytes.Equal(rec.Key, all[i].Key) {
			t.Fatalf("session %d: error %v", i, err)
		}
		if _, err := io.CopyN(io.Discard, r, int64(rec.Size/(i%3+1))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("behind the last: %v", err)
	}
	if err := r.Done(); err != nil {
		t.Error(err)
	}
}

func TestSnapshot_NothingOfASessionIsReadable(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	e := entry{Record: Record{Key: []byte("/LM/canary-in-the-key"), TimeLeft: time.Hour}, body: []byte("canary-in-the-body")}
	d.save(t, nil, []entry{e})
	for _, name := range names(t, d.path) {
		text, err := os.ReadFile(d.file(name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("canary")) {
			t.Errorf("%s shows it", name)
		}
		if info, err := os.Stat(d.file(name)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v; want 0600", name, info.Mode(), err)
		}
	}
}

// TestOpen_ReadsWhatVersion1Wrote: a new version of statemesh must find the sessions that an old one left. testdata/v1.snapshot is never
// changed; a later version of the file is another file beside it.
func TestOpen_ReadsWhatVersion1Wrote(t *testing.T) {
	t.Parallel()
	want := golden()
	file, err := os.ReadFile(filepath.Join("testdata", "v1.snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	contents := binary.BigEndian.AppendUint64(nil, uint64(goldenTime.UnixMicro()))
	for i, e := range want {
		contents = append(append(appendHead(contents, &e.Record, time.Duration(i)*time.Second, len(e.body)), e.Key...), e.body...)
	}
	if got := sealed(contents); !bytes.Equal(got, file) {
		t.Errorf("written now it has %d bytes and is not the same; want the %d of the file", len(got), len(file))
	}

	d := inUse(t, t.TempDir())
	if err := os.WriteFile(d.file(fileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open(nil, secret)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sessions != len(want) || r.Bytes != 70_004 || !r.Written.Equal(goldenTime) {
		t.Errorf("%d sessions, %d bytes, of %v; want %d, 70004, %v", r.Sessions, r.Bytes, r.Written, len(want), goldenTime)
	}
	if err := r.Consume(); err != nil {
		t.Fatal(err)
	}
	r.written = time.Now() // as if it were of now
	got, err := r.rest()
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
}

var goldenTime = time.Date(2026, 11, 21, 17, 55, 0, 123456000, time.UTC)

// golden are the sessions in testdata/v1.snapshot.
func golden() []entry {
	all := []entry{
		{Record{Key: []byte("/LM/W3SVC/2/ROOT(oXvp854=)/bpr4mimb2vjn"), Epoch: 1<<63 + 5, Locked: true, Cookie: 7, LockAge: 90 * time.Second,
			Timeout: 20, TimeLeft: 19 * time.Minute}, []byte("body")},
		{Record{Key: []byte("é"), Epoch: 1, Cookie: -1, Timeout: 525600, TimeLeft: 365 * 24 * time.Hour, New: true}, nil},
		{Record{Key: []byte("/a/b"), Epoch: 2, Cookie: 1, Timeout: 1, TimeLeft: time.Minute}, bytes.Repeat([]byte("seventy thousand bytes"), 3182)[:70_000]},
	}
	for i := range all {
		all[i].Size = len(all[i].body)
	}
	return all
}

func TestTimes_CountWhatPassedWhileNoNodeRan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		down    time.Duration // by the wall clock
		passed  time.Duration // for the sessions
		expired int
	}{
		"an hour":         {time.Hour, time.Hour, 1},
		"a second":        {time.Second, time.Second, 0},
		"clock set back":  {-time.Hour, 0, 0},
		"a century, back": {-100 * 365 * 24 * time.Hour, 0, 0},
		"a century":       {100 * 365 * 24 * time.Hour, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := inUse(t, t.TempDir())
				w, err := d.Create(secret)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second) // writing takes time, too: the last one's times are later
				for _, r := range []Record{
					{Key: []byte("a"), TimeLeft: 2 * time.Hour, Locked: true, LockAge: time.Minute},
					{Key: []byte("b"), TimeLeft: 2 * time.Hour},
					{Key: []byte("c"), TimeLeft: 30 * time.Minute},
				} {
					if err := w.Add(&r, nil); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := w.Commit(); err != nil {
					t.Fatal(err)
				}
				r, err := d.Open(nil, secret)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Consume(); err != nil {
					t.Fatal(err)
				}
				r.written = r.written.Add(-c.down)
				time.Sleep(time.Second) // reading takes time
				got, err := r.rest()
				if err != nil {
					t.Fatal(err)
				}
				if r.Expired != c.expired || len(got) != 3-c.expired {
					t.Fatalf("%d sessions, %d expired; want %d expired", len(got), r.Expired, c.expired)
				}
				for i, want := range []time.Duration{2 * time.Hour, 2 * time.Hour, 30 * time.Minute}[:len(got)] {
					if want -= c.passed + time.Second; got[i].TimeLeft != want {
						t.Errorf("session %d has %v left; want %v", i, got[i].TimeLeft, want)
					}
				}
				if len(got) > 0 {
					if got, want := got[0].LockAge, time.Minute+c.passed+time.Second; got != want {
						t.Errorf("lock age %v; want %v", got, want)
					}
				}
				_ = r.Done()
			})
		})
	}
}

func TestOpen_RefusesWhatIsNotItsOwnAndLeavesItAlone(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	d.save(t, secret, sessions(400, 1000))
	good, err := os.ReadFile(d.file(fileName))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	flipped := func(i int) []byte { return with(func(b []byte) []byte { b[i] ^= 1; return b }) }
	chunk := func(i int) int { return headerSize + i*sealedSize }
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"empty", nil, ErrDamaged},
		{"something else", []byte("<?xml version=\"1.0\"?>\n"), ErrForeign},
		{"shorter than the magic", good[:5], ErrDamaged},
		{"a later version", flipped(len(magic)), ErrForeign},
		{"another salt", flipped(len(magic) + 1), ErrOtherKey},
		{"another check", flipped(headerSize - 1), ErrOtherKey},
		{"header only", good[:headerSize], ErrDamaged},
		{"cut behind a chunk", good[:chunk(2)], ErrDamaged},
		{"cut in a chunk", good[:chunk(2)+100], ErrDamaged},
		{"cut in the last tag", good[:len(good)-1], ErrDamaged},
		{"more behind it", append(bytes.Clone(good), make([]byte, 100)...), ErrDamaged},
		{"another chunk behind it", append(bytes.Clone(good), good[chunk(1):chunk(2)]...), ErrDamaged},
		{"a bit in the first chunk", flipped(chunk(0) + 5), ErrDamaged},
		{"a bit in a tag", flipped(chunk(1) - 1), ErrDamaged},
		{"a bit at the end", flipped(len(good) - 1), ErrDamaged},
		{"two chunks changed places", with(func(b []byte) []byte {
			copy(b[chunk(0):], good[chunk(1):chunk(2)])
			copy(b[chunk(1):], good[chunk(0):chunk(1)])
			return b
		}), ErrDamaged},
		{"a chunk left out", slices.Delete(bytes.Clone(good), chunk(1), chunk(2)), ErrDamaged},
		{"a chunk twice", slices.Insert(bytes.Clone(good), chunk(1), good[chunk(0):chunk(1)]...), ErrDamaged},
	} {
		if err := os.WriteFile(d.file(fileName), c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Open(nil, secret); !errors.Is(err, c.want) || !strings.Contains(err.Error(), fileName) {
			t.Errorf("%s: %v; want %v, and the file's name", c.name, err, c.want)
		}
		if left, err := os.ReadFile(d.file(fileName)); err != nil || !bytes.Equal(left, c.file) {
			t.Errorf("%s: the file was touched", c.name)
		}
	}
}

// TestOpen_MissesWholeChunksToo: each session here fills a chunk to its end, so that what is left of a file without one, or with one twice, would
// make sense if chunks did not know their number, and which is the last.
func TestOpen_MissesWholeChunksToo(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	var all []entry
	for i := range 4 {
		e := entry{Record: Record{Key: []byte{byte('a' + i)}, TimeLeft: time.Hour}, body: make([]byte, chunkSize-headLen-headSize-1)}
		if i == 0 {
			e.body = e.body[startSize:]
		}
		e.Size = len(e.body)
		all = append(all, e)
	}
	d.save(t, secret, all)
	good, err := os.ReadFile(d.file(fileName))
	if err != nil {
		t.Fatal(err)
	}
	if len(good) != headerSize+4*sealedSize {
		t.Fatalf("the file has %d bytes; want four full chunks", len(good))
	}
	for name, order := range map[string][]int{
		"the last one left out": {0, 1, 2},
		"one left out":          {0, 2, 3},
		"one twice":             {0, 1, 1, 2, 3},
		"the last one twice":    {0, 1, 2, 3, 3},
		"changed places":        {0, 2, 1, 3},
		"as it was":             {0, 1, 2, 3},
	} {
		file := bytes.Clone(good[:headerSize])
		for _, n := range order {
			file = append(file, good[headerSize+n*sealedSize:][:sealedSize]...)
		}
		if err := os.WriteFile(d.file(fileName), file, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Open(nil, secret); bytes.Equal(file, good) != (err == nil) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpen_TriesEveryKey(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	all := sessions(5, 100)
	other := bytes.Repeat([]byte{7}, 32)
	d.save(t, secret, all)
	if _, err := d.Open(nil, other); !errors.Is(err, ErrOtherKey) {
		t.Errorf("%v; want that the key is missing", err)
	}
	got, err := d.load(other, secret)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, all)

	// A node that was alone, and has a cluster key now.
	d.save(t, nil, all)
	if got, err = d.load(other); err != nil {
		t.Fatal(err)
	}
	same(t, got, all)
}

func TestCreate_MakesAKeyOfItsOwnOnce(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	d.save(t, nil, nil)
	first, err := os.ReadFile(d.file(keyName))
	if err != nil {
		t.Fatal(err)
	}
	d.save(t, nil, nil)
	if second, err := os.ReadFile(d.file(keyName)); err != nil || !bytes.Equal(first, second) {
		t.Errorf("another key, error %v", err)
	}
	if err := os.WriteFile(d.file(keyName), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	if _, err := Use(d.path); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v; want to hear of a damaged key at the start", err)
	}
}

func TestCommit_PutsAsideWhatNobodyHasRead(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	all := sessions(20, 100)
	d.save(t, secret, all)
	w := d.save(t, bytes.Repeat([]byte{9}, 32), sessions(1, 10)) // a run with the wrong key
	if w.Aside == "" {
		t.Fatal("the first one is overwritten")
	}
	if err := os.Rename(w.Aside, d.file(fileName)); err != nil { // what an operator would do
		t.Fatal(err)
	}
	got, err := d.load(secret)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, all)
}

func TestAbort_LeavesEverythingAsItWas(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	all := sessions(20, 100)
	d.save(t, secret, all)
	w, err := d.Create(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(&all[0].Record, make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	if _, err := w.Commit(); err == nil {
		t.Error("committed after Abort")
	}
	if left := names(t, d.path); !slices.Equal(left, []string{fileName}) {
		t.Errorf("%v is left", left)
	}
	got, err := d.load(secret)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, all)
}

func TestUse_OneProcessAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b")
	d := inUse(t, path)
	if _, err := Use(path); err == nil || !strings.Contains(err.Error(), "another statemesh") {
		t.Errorf("%v; want that it is used", err)
	}
	_ = d.Close()
	inUse(t, path)
	if left := names(t, path); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

func TestUse_SaysAtTheStartThatItCannotWrite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Use(file); err == nil || !strings.Contains(err.Error(), "snapshot folder") {
		t.Errorf("%v", err)
	}
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		return // neither is kept out by modes
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := Use(closed); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v; want that it is not allowed", err)
	}
}

// TestKilled_AllOrNothing stops the machine at every step of writing a second snapshot over a first, and of adopting it.
func TestKilled_AllOrNothing(t *testing.T) {
	t.Parallel()
	d := inUse(t, t.TempDir())
	older, newer := sessions(30, 2000), sessions(900, 5000)
	d.save(t, secret, older)

	type moment struct{ step, path string }
	var moments []moment
	record := func(step string) { moments = append(moments, moment{step, copyDir(t, d.path)}) }
	d.at = record
	w, err := d.Create(secret)
	if err != nil {
		t.Fatal(err)
	}
	for i := range newer {
		if err := w.Add(&newer[i].Record, newer[i].body); err != nil {
			t.Fatal(err)
		}
		if i%300 == 0 {
			record(fmt.Sprintf("%d added", i))
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	writing := len(moments)
	if got, err := d.load(secret); err != nil || len(got) != len(newer) {
		t.Fatalf("%d sessions, error %v", len(got), err)
	}

	for i, m := range moments {
		again := inUse(t, m.path)
		got, err := again.load(secret)
		switch {
		case i >= writing: // consumed, removed: they may have been served since
			if !isNone(err) {
				t.Errorf("%s: %d sessions, error %v; want none", m.step, len(got), err)
			}
		case m.step == "committed":
			same(t, got, newer)
		default:
			same(t, got, older)
		}
		for _, name := range names(t, m.path) {
			if !strings.HasPrefix(name, unreadName) {
				t.Errorf("%s: %s is left", m.step, name)
			}
		}
		if swept := len(again.Swept); (swept > 0) != (m.step != "committed" && m.step != "removed") {
			t.Errorf("%s: swept %v", m.step, again.Swept)
		}
	}
	var steps []string
	for _, m := range moments {
		steps = append(steps, m.step)
	}
	want := []string{"created", "0 added", "300 added", "600 added", "written", "synced", "set aside", "committed", "consumed", "removed"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %v; want %v", steps, want)
	}
}
