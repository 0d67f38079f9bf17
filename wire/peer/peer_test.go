package peer_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"statemesh/wire/peer"
)

// golden1 is a message and its bytes.
type golden1 struct {
	m     peer.Message
	bytes string
}

// golden is one message of every kind, and its bytes. These never change: an older version sends and expects them.
var golden = []golden1{
	{
		peer.Find{Key: "/a/b", Round: 1, Ask: 2, Create: true, Priority: peer.Priority{Arrived: 3, Node: "web01-0a"}, Cookie: -1, Wait: 500 * time.Millisecond, Adopt: 4},
		"00000039 01 0000000000000001 00000002 01 ffffffff 000000001dcd6500 0000000000000004 0000000000000003 08 77656230312d3061 0004 2f612f62",
	},
	{
		peer.Reply{Key: "/a/b", Round: 1, Ask: 2, Nth: 3, Says: peer.Hint, Epoch: 4, Holder: "web02-0b", Cookie: 5, Age: 6, View: 7, Horizon: 8},
		"00000045 02 0000000000000001 00000002 00000003 03 0000000000000004 00000005 0000000000000006 0000000000000007 08 77656230322d3062 0004 2f612f62" +
			"0000000000000008",
	},
	{
		peer.Push{Key: "/a/b", Transfer: 1, Record: peer.Record{Epoch: 2, Locked: true, Cookie: 3, LockAge: 4, Timeout: 20, TimeLeft: 5, New: true, Size: 6}},
		"00000034 03 0000000000000001 0000000000000002 03 00000003 0000000000000004 00000014 0000000000000005 00000006 0004 2f612f62",
	},
	{peer.Ack{Key: "/a/b", Transfer: 1}, "0000000f 04 0000000000000001 0004 2f612f62"},
	{peer.Refuse{Key: "/a/b", Transfer: 1, Why: peer.NotNow}, "00000010 05 0000000000000001 04 0004 2f612f62"},
	{peer.Commit{Key: "/a/b", Transfer: 1}, "0000000f 06 0000000000000001 0004 2f612f62"},
	{peer.Abort{Key: "/a/b", Transfer: 1}, "0000000f 07 0000000000000001 0004 2f612f62"},
	{peer.Confirm{Key: "/a/b", Transfer: 1}, "0000000f 08 0000000000000001 0004 2f612f62"},
	{peer.NoRecord{Key: "/a/b", Transfer: 1}, "0000000f 09 0000000000000001 0004 2f612f62"},
	{
		peer.Claims{Batch: 1, Claims: []peer.Claim{{Key: "/a/b", Epoch: 2, Idle: 3}, {Key: "/a/c", Epoch: 4, Idle: 5}}},
		"00000039 0a 0000000000000001 00000002 0000000000000002 0000000000000003 0004 2f612f62 0000000000000004 0000000000000005 0004 2f612f63",
	},
	{peer.Heard{Batch: 1}, "0000000d 0b 0000000000000001 00000000"},
	{
		peer.Know{Version: 1, Members: []peer.NodeID{"web01-0a", "web02-0b"}},
		"0000001f 0c 0000000000000001 00000002 08 77656230312d3061 08 77656230322d3062",
	},
	{peer.Known{Version: 1}, "00000009 0d 0000000000000001"},
	{peer.Report{Body: []byte(`{"a":1}`)}, "0000000c 0e 00000007 7b2261223a317d"},
	{
		peer.Convoy{N: 7, Pushes: []peer.Push{
			{Key: "/a/b", Transfer: 1, Record: peer.Record{Epoch: 2, Locked: true, Cookie: 3, LockAge: 4, Timeout: 20, TimeLeft: 5, New: true, Size: 6}},
			{Key: "/a/cd", Transfer: 8, Record: peer.Record{Epoch: 9, Timeout: 20, TimeLeft: 10}},
		}},
		"00000074 0f 0000000000000007 00000002" +
			"0000000000000001 0000000000000002 03 00000003 0000000000000004 00000014 0000000000000005 00000006 0004 2f612f62" +
			"0000000000000008 0000000000000009 00 00000000 0000000000000000 00000014 000000000000000a 00000000 0005 2f612f6364",
	},
	{peer.ConvoyAck{N: 7, Which: 3}, "00000011 10 0000000000000007 0000000000000003"},
	{peer.ConvoyCommit{N: 7, Which: 2}, "00000011 11 0000000000000007 0000000000000002"},
	{peer.ConvoyConfirm{N: 7, Which: 2}, "00000011 12 0000000000000007 0000000000000002"},
	{
		peer.Hello{Speaks: peer.Versions{Min: 1, Max: 2}, Lane: peer.Bulk, Generation: 3, Self: "web01-0a", To: "web02-0b"},
		"00000029 80 73746174656d657368 0001 0002 02 0000000000000003 08 77656230312d3061 08 77656230322d3062",
	},
	{peer.Denied{Speaks: peer.Versions{Min: 1, Max: 2}, Why: "no"}, "00000012 81 73746174656d657368 0001 0002 0002 6e6f"},
	{peer.Ping{N: 1}, "00000009 82 0000000000000001"},
	{peer.Pong{N: 1, Clock: 0x18a0b1c2d3e4f506}, "00000011 83 0000000000000001 18a0b1c2d3e4f506"},
}

// older are frames as versions before sent them, without the fields that have been appended since.
var older = []golden1{
	{peer.Pong{N: 1}, "00000009 83 0000000000000001"},
	{
		peer.Reply{Key: "/a/b", Round: 1, Ask: 2, Nth: 3, Says: peer.Hint, Epoch: 4, Holder: "web02-0b", Cookie: 5, Age: 6, View: 7},
		"0000003d 02 0000000000000001 00000002 00000003 03 0000000000000004 00000005 0000000000000006 0000000000000007 08 77656230322d3062 0004 2f612f62",
	},
}

func TestAppend_BytesOfEveryKind(t *testing.T) {
	t.Parallel()
	seen := map[peer.Kind]bool{}
	for _, g := range golden {
		want := unhex(t, g.bytes)
		if got := peer.Append(nil, g.m); !bytes.Equal(got, want) {
			t.Errorf("%v:\n got %x\nwant %x", g.m.Kind(), got, want)
		}
		got, err := peer.Parse(want)
		if err != nil || !reflect.DeepEqual(got, g.m) {
			t.Errorf("%v: Parse = %+v, %v; want %+v", g.m.Kind(), got, err, g.m)
		}
		seen[g.m.Kind()] = true
	}
	for k := range 256 {
		if known := !strings.HasPrefix(peer.Kind(k).String(), "Kind("); known != seen[peer.Kind(k)] {
			t.Errorf("kind %v: known %v, golden %v", peer.Kind(k), known, seen[peer.Kind(k)])
		}
	}
}

func TestParse_WhatOlderVersionsSay(t *testing.T) {
	t.Parallel()
	for _, g := range older {
		frame := unhex(t, g.bytes)
		if got, err := peer.Parse(frame); err != nil || !reflect.DeepEqual(got, g.m) {
			t.Errorf("Parse = %+v, %v; want %+v", got, err, g.m)
		}
		if got := peer.Append(nil, g.m); !bytes.Equal(got, frame) {
			t.Errorf("%v:\n got %x\nwant %x", g.m.Kind(), got, frame)
		}
	}
}

func TestAppend_AppendsBehindWhatIsThere(t *testing.T) {
	t.Parallel()
	var all, want []byte
	for _, g := range golden {
		all = peer.Append(all, g.m)
		want = append(want, unhex(t, g.bytes)...)
	}
	if !bytes.Equal(all, want) {
		t.Errorf("got %x\nwant %x", all, want)
	}
}

func TestAppend_SaysNothingRatherThanNonsense(t *testing.T) {
	t.Parallel()
	long, name := peer.Key(strings.Repeat("k", peer.MaxKey+1)), peer.NodeID(strings.Repeat("n", peer.MaxName+1))
	for _, m := range []peer.Message{
		peer.Find{}, peer.Find{Key: long}, peer.Find{Key: "k", Priority: peer.Priority{Node: name}},
		peer.Reply{Key: long}, peer.Reply{Key: "k", Holder: name},
		peer.Push{Key: long}, peer.Push{Key: "k", Record: peer.Record{Size: -1}}, peer.Push{Key: "k", Record: peer.Record{Size: peer.MaxBody + 1}},
		peer.Ack{Key: long}, peer.Refuse{Key: long}, peer.Commit{Key: long}, peer.Abort{Key: long}, peer.Confirm{Key: long}, peer.NoRecord{Key: long},
		peer.Claims{Claims: []peer.Claim{{Key: long}}}, peer.Heard{Claims: []peer.Claim{{}}}, peer.Know{Members: []peer.NodeID{name}},
		peer.Convoy{Pushes: []peer.Push{{Key: long}}}, peer.Convoy{Pushes: []peer.Push{{Key: "k", Record: peer.Record{Size: -1}}}},
		peer.Convoy{Pushes: slices.Repeat([]peer.Push{{Key: "k"}}, peer.MaxConvoy+1)},
		peer.Know{Members: make([]peer.NodeID, peer.MaxLong)}, peer.Hello{Self: name}, peer.Hello{To: name},
		peer.Report{Body: make([]byte, peer.MaxReport+1)},
	} {
		if got := peer.Append([]byte("before"), m); string(got) != "before" {
			t.Errorf("%v was said: %d bytes", m.Kind(), len(got))
		}
	}
}

func TestAppend_TheLongestClaimsFit(t *testing.T) {
	t.Parallel()
	m := peer.Claims{Claims: make([]peer.Claim, 256)} // what handoff puts into a batch
	for i := range m.Claims {
		m.Claims[i] = peer.Claim{Key: peer.Key(strings.Repeat("k", peer.MaxKey)), Epoch: peer.Epoch(i + 1)}
	}
	frame := peer.Append(nil, m)
	r := peer.NewReader(iotest.HalfReader(bytes.NewReader(frame)), peer.MaxFrame)
	if got, err := r.Next(nil); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read %v, %v", got, err)
	}
}

func TestReader_TheLongestReportFits(t *testing.T) {
	t.Parallel()
	m := peer.Report{Body: bytes.Repeat([]byte("r"), peer.MaxReport)}
	frame := peer.Append(nil, m)
	r := peer.NewReader(iotest.HalfReader(bytes.NewReader(frame)), peer.MaxFrame)
	if got, err := r.Next(nil); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read %.100v, %v", got, err)
	}
	// A node that does not know such a message, as those before this one, steps over it.
	frame[4] = 0x7f
	r = peer.NewReader(iotest.HalfReader(bytes.NewReader(peer.Append(frame, peer.Known{Version: 7}))), peer.MaxFrame)
	if got, err := r.Next(nil); err != nil || got != (peer.Known{Version: 7}) {
		t.Errorf("behind a frame of an unknown kind: %.100v, %v", got, err)
	}
}

func TestDenied_LongExplanationsAreCut(t *testing.T) {
	t.Parallel()
	got, err := peer.Parse(peer.Append(nil, peer.Denied{Why: strings.Repeat("w", 70000)}))
	if err != nil || len(got.(peer.Denied).Why) != peer.MaxWhy {
		t.Errorf("%v", err)
	}
}

func TestParse_IgnoresWhatNewerVersionsAppend(t *testing.T) {
	t.Parallel()
	for _, g := range golden {
		frame := append(unhex(t, g.bytes), 1, 2, 3)
		setLength(frame)
		if got, err := peer.Parse(frame); err != nil || !reflect.DeepEqual(got, g.m) {
			t.Errorf("%v: %+v, %v", g.m.Kind(), got, err)
		}
	}
}

func TestParse_TruncatedAtEveryByte(t *testing.T) {
	t.Parallel()
	for _, g := range golden {
		whole := unhex(t, g.bytes)
		for n := range whole {
			frame := bytes.Clone(whole[:n])
			if m, err := peer.Parse(frame); err == nil {
				t.Errorf("%v: %d of %d bytes were taken for %+v", g.m.Kind(), n, len(whole), m)
			}
			if n < 5 {
				continue
			}
			setLength(frame) // and so it says itself
			if slices.ContainsFunc(older, func(o golden1) bool { return bytes.Equal(unhex(t, o.bytes), frame) }) {
				continue
			}
			if m, err := peer.Parse(frame); err == nil {
				t.Errorf("%v: %d of %d bytes, rightly labelled, were taken for %+v", g.m.Kind(), n, len(whole), m)
			}
		}
	}
}

func TestParse_Nonsense(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, frame string }{
		{"no such size", "00000030 03 0000000000000001 0000000000000002 03 00000003 0000000000000004 00000014 0000000000000005 80000000 0004 2f612f62"},
		{"no key", "0000000b 04 0000000000000001 0000"},
		{"says nothing", "00000034 02 0000000000000001 00000002 00000003 00 0000000000000004 00000005 0000000000000006 0000000000000007 00 0004 2f612f62"},
		{"refuses for no reason", "00000010 05 0000000000000001 00 0004 2f612f62"},
		{"more claims than could be there", "0000001f 0a 0000000000000001 ffffffff 0000000000000002 0000000000000003 0001 2f"},
		{"more members than could be there", "0000000d 0c 0000000000000001 00000001"},
		{"other magic", "00000012 81 53746174656d657368 0001 0002 0002 6e6f"},
		{"a longer report than there is", "0000000b 0e 00000007 7b2261223a31"},
		{"a report that is too long", "00000009 0e 00040001 7b2261"},
		{"a convoy of none that is there", "0000000d 0f 0000000000000001 00000001"},
		{"half a clock", "0000000d 83 0000000000000001 18a0b1c2"},
		{"lane 0", "00000019 80 73746174656d657368 0001 0002 00 0000000000000003 00 00"},
	} {
		frame := unhex(t, tt.frame)
		setLength(frame)
		if m, err := peer.Parse(frame); err == nil {
			t.Errorf("%s: taken for %+v", tt.name, m)
		}
	}
	if m, err := peer.Parse(unhex(t, "00000002 7f 00")); !errors.Is(err, peer.ErrUnknown) {
		t.Errorf("unknown kind: %v, %v", m, err)
	}
	key := bytes.Repeat([]byte("k"), peer.MaxKey+1)
	frame := append(unhex(t, "00000000 04 0000000000000001"), byte(len(key)>>8), byte(len(key)))
	frame = append(frame, key...)
	setLength(frame)
	if _, err := peer.Parse(frame); err == nil {
		t.Error("a key that is too long was taken")
	}
}

func TestErrors_ShowNoKey(t *testing.T) {
	t.Parallel()
	const secret = "bpr4mimb2vjnvtn2jc4yp3uo"
	frame := peer.Append(nil, peer.Ack{Key: secret})
	frame[14]++ // the key's length
	if _, err := peer.Parse(frame); err == nil || strings.Contains(err.Error(), secret[:6]) {
		t.Errorf("%v", err)
	}
}

func TestVersions_Common(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b peer.Versions
		want uint16
		ok   bool
	}{
		{peer.Versions{Min: 1, Max: 1}, peer.Versions{Min: 1, Max: 1}, 1, true},
		{peer.Versions{Min: 1, Max: 3}, peer.Versions{Min: 2, Max: 5}, 3, true},
		{peer.Versions{Min: 2, Max: 5}, peer.Versions{Min: 1, Max: 3}, 3, true},
		{peer.Versions{Min: 1, Max: 1}, peer.Versions{Min: 2, Max: 3}, 0, false},
		{peer.Versions{Min: 4, Max: 5}, peer.Versions{Min: 2, Max: 3}, 0, false},
		{peer.Versions{Min: 1, Max: 3}, peer.Versions{Min: 3, Max: 1}, 0, false},
	} {
		got, ok := tt.a.Common(tt.b)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%v and %v: %d, %v", tt.a, tt.b, got, ok)
		}
	}
}

// stream is every golden message, Pushes with a body, and frames that only newer versions know.
func stream(t testing.TB) (data []byte, ends map[int]bool) {
	ends = map[int]bool{0: true}
	for i, g := range golden {
		data = append(data, unhex(t, g.bytes)...)
		for _, p := range pushesOf(g.m) {
			data = append(data, strings.Repeat("b", p.Record.Size)...)
		}
		ends[len(data)] = true
		if i%3 == 0 {
			data = append(data, unhex(t, "00000004 7f 010203")...)
			ends[len(data)] = true
		}
	}
	return data, ends
}

func TestReader_StreamInAnyPieces(t *testing.T) {
	t.Parallel()
	data, _ := stream(t)
	for name, slow := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "bytes": iotest.OneByteReader, "data and error": iotest.DataErrReader,
	} {
		r := peer.NewReader(slow(bytes.NewReader(data)), peer.MaxFrame)
		for _, g := range golden {
			want := g.m
			switch m := want.(type) {
			case peer.Push:
				m.Record.Body = "bbbbbb"
				want = m
			case peer.Convoy:
				m.Pushes = slices.Clone(m.Pushes)
				m.Pushes[0].Record.Body, m.Pushes[1].Record.Body = "bbbbbb", ""
				want = m
			}
			got, err := r.Next(readBody(r))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: got %+v, %v; want %+v", name, got, err, want)
			}
		}
		if m, err := r.Next(nil); err != io.EOF {
			t.Errorf("%s: at the end %v, %v", name, m, err)
		}
	}
}

func TestReader_CutAtEveryByte(t *testing.T) {
	t.Parallel()
	data, ends := stream(t)
	for n := range len(data) {
		r := peer.NewReader(bytes.NewReader(data[:n]), peer.MaxFrame)
		var err error
		for err == nil {
			_, err = r.Next(readBody(r))
		}
		want := io.ErrUnexpectedEOF
		if ends[n] {
			want = io.EOF
		}
		if err != want {
			t.Errorf("cut after %d of %d: %v, want %v", n, len(data), err, want)
		}
	}
}

func TestReader_SkipsWhatIsLeftOfABody(t *testing.T) {
	t.Parallel()
	push := peer.Push{Key: "k", Record: peer.Record{Size: 200_000}}
	data := append(peer.Append(nil, push), make([]byte, 200_000)...)
	data = peer.Append(data, peer.Known{Version: 7})
	for _, want := range []int{0, 1, 100_000, 200_000} {
		r := peer.NewReader(bytes.NewReader(data), peer.MaxFrame)
		m, err := r.Next(func(p peer.Push) (any, error) {
			_, err := io.ReadFull(r, make([]byte, want))
			return want, err
		})
		if err != nil || m.(peer.Push).Record.Body != want {
			t.Fatalf("%d: %v, %v", want, m, err)
		}
		if m, err := r.Next(nil); err != nil || m != (peer.Known{Version: 7}) {
			t.Errorf("%d: then %v, %v", want, m, err)
		}
	}
	r := peer.NewReader(bytes.NewReader(data), peer.MaxFrame)
	refused := errors.New("refused")
	if _, err := r.Next(func(peer.Push) (any, error) { return nil, refused }); err != refused {
		t.Errorf("got %v", err)
	}
}

func TestReader_LengthIsCheckedBeforeMemoryIsTaken(t *testing.T) {
	for _, head := range []string{
		"ffffffff 01", "00010000 01", "00010000 80", // a Find, a Hello: 64 KiB with the length itself
		"0a", "00000000 01", "ffffffff 0a", "00500000 0a", "ffffffff 7f", // Claims, and what is unknown
		"ffffffff 0e", "00050000 0e", // a Report
	} {
		r := peer.NewReader(io.MultiReader(bytes.NewReader(unhex(t, head)), zeros{}), peer.MaxFrame)
		if m, err := r.Next(nil); err == nil {
			t.Errorf("%s: %v", head, m)
		}
	}
	// A length that is not kept costs what has arrived, not what it says.
	claims := append(unhex(t, "004f0000 0a"), make([]byte, 100_000)...)
	before := allocated()
	r := peer.NewReader(bytes.NewReader(claims), peer.MaxFrame)
	if _, err := r.Next(nil); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	if took := allocated() - before; took > 1<<20 {
		t.Errorf("%d bytes for a frame of which 100,000 came", took)
	}
}

func TestReader_TakesMemoryForTheKeyAndTheMessageOnly(t *testing.T) {
	for _, m := range []peer.Message{
		peer.Find{Key: "/LM/W3SVC/2/ROOT/bpr4mimb2vjnvtn2jc4yp3uo", Priority: peer.Priority{Node: "web01-0a"}},
		peer.Reply{Key: "/LM/W3SVC/2/ROOT/bpr4mimb2vjnvtn2jc4yp3uo", Says: peer.Hint, Holder: "web02-0b"},
		peer.Push{Key: "/LM/W3SVC/2/ROOT/bpr4mimb2vjnvtn2jc4yp3uo", Transfer: 1},
		peer.Commit{Key: "/LM/W3SVC/2/ROOT/bpr4mimb2vjnvtn2jc4yp3uo", Transfer: 1},
	} {
		frame := peer.Append(nil, m)
		var again bytes.Reader
		r := peer.NewReader(&again, peer.MaxFrame)
		if got := testing.AllocsPerRun(1000, func() {
			again.Reset(frame)
			if _, err := r.Next(nil); err != nil {
				t.Fatal(err)
			}
		}); got > 2 {
			t.Errorf("%v: %v allocations to read", m.Kind(), got)
		}
		buf := make([]byte, 0, 256)
		if got := testing.AllocsPerRun(1000, func() { buf = peer.Append(buf[:0], m) }); got > 0 {
			t.Errorf("%v: %v allocations to write", m.Kind(), got)
		}
	}
}

// pushesOf are the sessions that a message carries.
func pushesOf(m peer.Message) []peer.Push {
	switch m := m.(type) {
	case peer.Push:
		return []peer.Push{m}
	case peer.Convoy:
		return m.Pushes
	}
	return nil
}

func readBody(r *peer.Reader) func(peer.Push) (any, error) {
	return func(p peer.Push) (any, error) {
		b, err := io.ReadAll(r)
		if err == nil && len(b) != p.Record.Size {
			err = fmt.Errorf("%d bytes of %d", len(b), p.Record.Size)
		}
		return string(b), err
	}
}

func setLength(frame []byte) { binary.BigEndian.PutUint32(frame, uint32(len(frame)-4)) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
