package snapshot

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// sealed is a file with these contents, by the secret of the tests; the same one each time, since a fuzzer is several processes.
func sealed(contents []byte) []byte {
	salt := make([]byte, saltSize)
	key, check := expand(secret, salt)
	header := append(append(append([]byte(magic), version), salt...), check...)
	s := newStream(key, header)
	file := bytes.Clone(header)
	for {
		n := min(chunkSize, len(contents))
		from := len(file)
		file = append(file, contents[:n]...)
		contents = contents[n:]
		file = s.seal(file, from, len(contents) == 0)
		if len(contents) == 0 {
			return file
		}
	}
}

// readAll reads a file as Open does, and returns the bytes that came out.
func readAll(file []byte) ([]byte, error) {
	d, err := newDecoder(bytes.NewReader(file), int64(len(file)), [][]byte{secret})
	if err != nil {
		return nil, err
	}
	var out []byte
	for {
		r, err := d.record()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		body, err := io.ReadAll(&d)
		if err != nil {
			return out, err
		}
		if len(body) != r.Size {
			panic("the body has another size")
		}
		out = append(append(out, r.Key...), body...)
	}
}

// FuzzFile: a file of any bytes is refused, and nothing comes out of a chunk that was changed. Without the secret no fuzzer can make a good
// one, so it is given some, to change.
func FuzzFile(f *testing.F) {
	contents := make([]byte, startSize, 3*chunkSize)
	for _, e := range sessions(30, 5000) {
		contents = append(append(appendHead(contents, &e.Record, 0, len(e.body)), e.Key...), e.body...)
	}
	good := sealed(contents)
	whole, err := readAll(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{}, 0)
	f.Add(headerSize+3, []byte{1}, 0)
	f.Add(headerSize+sealedSize, good[headerSize:][:sealedSize], 1)
	f.Fuzz(func(t *testing.T, at int, put []byte, drop int) {
		at = min(max(0, at), len(good))
		file := append(bytes.Clone(good[:at]), put...)
		file = append(file, good[min(len(good), at+max(0, min(drop, len(good)))):]...)
		out, err := readAll(file)
		if err == nil != bytes.Equal(file, good) {
			t.Fatalf("error %v for a file that was changed: %v", err, !bytes.Equal(file, good))
		}
		if !bytes.HasPrefix(whole, out) {
			t.Fatal("something came out that was never written")
		}
	})
}

// FuzzContents: what is encrypted rightly may still be nonsense. It is refused, and no memory is taken on its word.
func FuzzContents(f *testing.F) {
	e := sessions(1, 10)[0]
	one := append(append(appendHead(make([]byte, startSize), &e.Record, 0, len(e.body)), e.Key...), e.body...)
	f.Add(one)
	f.Add(one[:len(one)-1])
	longer := bytes.Clone(one)
	longer[startSize+1] += 3 // fields of a later version
	f.Add(append(longer[:startSize+headLen+headSize:startSize+headLen+headSize], append([]byte("xyz"), one[startSize+headLen+headSize:]...)...))
	huge := bytes.Clone(one)
	copy(huge[startSize+headLen+headSize-8:], "\x00\x40\x00\x00\x7f\xff\xff\xff")
	f.Add(huge)
	f.Fuzz(func(t *testing.T, contents []byte) {
		out, _ := readAll(sealed(contents))
		if len(out) > len(contents) {
			t.Fatalf("%d bytes came out of %d", len(out), len(contents))
		}
	})
}

func TestRecord_FieldsOfALaterVersionAreIgnored(t *testing.T) {
	t.Parallel()
	want := sessions(2, 100)
	contents := make([]byte, startSize)
	for _, e := range want {
		head := appendHead(nil, &e.Record, 0, len(e.body))
		head[1] += 5
		contents = append(append(append(append(contents, head...), "later"...), e.Key...), e.body...)
	}
	file := sealed(contents)
	d, err := newDecoder(bytes.NewReader(file), int64(len(file)), [][]byte{secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range want {
		r, err := d.record()
		if err != nil || !bytes.Equal(r.Key, e.Key) || r.Epoch != e.Epoch || r.Cookie != e.Cookie || r.Size != len(e.body) {
			t.Fatalf("%v, error %v; want %v", entry{r, nil}, err, e)
		}
	}
}

func TestRecord_LongerThanAnyIsRefusedBeforeMemoryIsTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key, body int
		good      bool
	}{
		"the longest":    {maxKey, maxBody, true},
		"a longer key":   {maxKey + 1, 0, false},
		"a longer body":  {0, maxBody + 1, false},
		"as long as can": {1<<32 - 1, 1<<32 - 1, false},
	} {
		head := appendHead(nil, &Record{}, 0, c.body)[headLen:]
		binary.BigEndian.PutUint32(head[headSize-8:], uint32(c.key))
		if _, _, _, err := parseHead(head); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
