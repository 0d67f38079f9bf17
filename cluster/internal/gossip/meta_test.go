package gossip

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var goldenMeta = Meta{
	Name: "web01", Version: "1.2.3", Phase: Draining, ProtoMin: 1, ProtoMax: 2,
	Started:  time.UnixMilli(1_760_000_000_123),
	Transfer: netip.MustParseAddrPort("10.0.0.5:42426"),
	Status:   netip.MustParseAddrPort("[2001:db8::5]:42480"),
}

const goldenHex = "01010102" + "00000199c82cc07b" + "a5ba040a000005" + "a5f01020010db8000000000000000000000005" + "057765623031" + "05312e322e33"

func TestMeta_HasTheseBytes(t *testing.T) {
	t.Parallel()
	b := goldenMeta.append(nil)
	if got := hex.EncodeToString(b); got != goldenHex {
		t.Errorf("got  %s\nwant %s", got, goldenHex)
	}
	for _, later := range []string{"", "fields of a later version"} {
		got, err := parseMeta(append(bytes.Clone(b), later...))
		if err != nil || !reflect.DeepEqual(got, goldenMeta) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	for i := range b {
		if _, err := parseMeta(b[:i]); err == nil {
			t.Errorf("cut off at %d it was taken", i)
		}
	}
}

func TestMeta_IsNeverTooLong(t *testing.T) {
	t.Parallel()
	m := goldenMeta
	m.Name, m.Version = strings.Repeat("n", maxName), strings.Repeat("v", maxVersion)
	m.Transfer = netip.MustParseAddrPort("[2001:db8::5]:42480")
	if n := len(m.append(nil)); n != maxMeta || n > 150 {
		t.Errorf("%d bytes, want %d and at most 150", n, maxMeta)
	}
}

func TestMeta_RefusesWhatMustNotBeShown(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Meta){
		"no name":           func(m *Meta) { m.Name = "" },
		"long name":         func(m *Meta) { m.Name = strings.Repeat("n", maxName+1) },
		"newline in name":   func(m *Meta) { m.Name = "a\nb" },
		"escape in version": func(m *Meta) { m.Version = "\x1b[2J" },
		"bad UTF-8":         func(m *Meta) { m.Name = "a\xff" },
		"no transfer":       func(m *Meta) { m.Transfer = netip.AddrPort{} },
		"no protocol":       func(m *Meta) { m.ProtoMin = 0 },
		"protocols turned":  func(m *Meta) { m.ProtoMin = 3 },
	} {
		m := goldenMeta
		change(&m)
		if _, err := parseMeta(m.append(nil)); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	other := goldenMeta.append(nil)
	other[0] = 2
	if _, err := parseMeta(other); err == nil {
		t.Error("another format was taken")
	}
}

func FuzzMeta(f *testing.F) {
	f.Add(goldenMeta.append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMeta(b)
		if err != nil {
			return
		}
		again, err := parseMeta(m.append(nil))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v came back as %+v, %v", m, again, err)
		}
	})
}
