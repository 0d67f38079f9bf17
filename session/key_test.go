package session_test

import (
	"fmt"
	"strings"
	"testing"

	"statemesh/session"
)

var keys = []string{
	"/LM/W3SVC/1/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/bpr4mimb2vjnvtn2jc4yp3uo",
	"/LM/W3SVC/1/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/bpr4mimb2vjnvtn2jc4yp3up",
	"/LM/W3SVC/1/Root(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/bpr4mimb2vjnvtn2jc4yp3uo", // case counts
	"/LM/W3SVC/1446149547/Root(rFlg8p6U4SNNj7SSJTCgM5GI9h4=)/z445nnecaiiqye55asxwtm55",
	"//LM/a/b", "/LM/a/b", "LM/a/b", "/LM/a//b", "/LM/a/b/", "/LM/a/b//",
	"a", "aa", "/", "//", "///", "/a", "a/", "a/a", "\x00", "\x00/\x00", "a/\x00", "ä/ö", "\xff\xfe/\xfd",
	"x/" + strings.Repeat("i", 23), "x/" + strings.Repeat("i", 24), "x/" + strings.Repeat("i", 25), "x/" + strings.Repeat("i", 26),
	"x/" + strings.Repeat("i", 80), "x/" + strings.Repeat("i", 254), "x/" + strings.Repeat("i", 255), "x/" + strings.Repeat("i", 256),
	"x/" + strings.Repeat("i", 257), "x/" + strings.Repeat("i", 1000), strings.Repeat("i", 255), strings.Repeat("i", 256), strings.Repeat("i", 510),
	strings.Repeat("i", 511), strings.Repeat("i", 8000), strings.Repeat("/", 300), strings.Repeat("app/", 500), strings.Repeat("a", 300) + "/" + strings.Repeat("i", 300),
}

func TestKey_TheSameBytesAreTheSameSessionAndNoOthers(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	for i, k := range keys {
		r := f.Set(session.KeyOf([]byte(k)), session.Change{Body: f.body(text(i, 10)), Timeout: 20})
		f.is(fmt.Sprintf("%.40q", k), answerOf(&r), done)
	}
	if got := f.Stats(); got.Created != int64(len(keys)) || got.Active != int64(len(keys)) {
		t.Errorf("%d sessions were created for %d keys", got.Created, len(keys))
	}
	for i, k := range keys {
		key := session.KeyOf([]byte(k))
		r := f.Get(key)
		f.is(fmt.Sprintf("%.40q", k), answerOf(&r), answer{Timeout: 20, Body: text(i, 10)})
		f.Settle(key, &r, true)
	}
	if err := f.Check(0); err != nil {
		t.Error(err)
	}
	for _, k := range keys {
		key := session.KeyOf([]byte(k))
		r := f.Remove(key, 0)
		f.is(fmt.Sprintf("%.40q", k), answerOf(&r), done)
		r = f.Remove(key, 0)
		f.is(fmt.Sprintf("%.40q, again", k), answerOf(&r), notFound)
	}
	if got := f.Stats(); got.Apps != 0 || got.UsedBytes != 0 {
		t.Errorf("after all are removed: got %+v, want no applications and nothing used", got)
	}
}

func TestKey_IsCutBehindTheLastSlashOrBefore255Bytes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ key, app, id string }{
		{"/LM/W3SVC/1/ROOT(a/b=)/id", "/LM/W3SVC/1/ROOT(a/b=)/", "id"},
		{"no slash", "", "no slash"},
		{"/", "/", ""},
		{"app/", "app/", ""},
		{"", "", ""},
		{"a/" + strings.Repeat("i", 255), "a/", strings.Repeat("i", 255)},
		{"a/" + strings.Repeat("i", 256), "a/i", strings.Repeat("i", 255)},
		{strings.Repeat("i", 300), strings.Repeat("i", 45), strings.Repeat("i", 255)},
	} {
		if app, id := session.KeyOf([]byte(row.key)).Parts(); app != row.app || id != row.id {
			t.Errorf("%.40q: got %.40q and %.40q, want %.40q and %.40q", row.key, app, id, row.app, row.id)
		}
	}
}

// The operations read the key's bytes and keep none of them.
func TestKey_ItsBytesMayBeUsedAgain(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	buf := make([]byte, 0, 10_000)
	for i, k := range keys {
		buf = append(buf[:0], k...)
		f.Set(session.KeyOf(buf), session.Change{Body: f.body(text(i, 10)), Timeout: 20})
		for i := range buf {
			buf[i] = '#'
		}
	}
	for i, k := range keys {
		if got := f.Peek(session.KeyOf([]byte(k))).Body; got != text(i, 10) {
			t.Errorf("%.40q: got %q, want %q", k, got, text(i, 10))
		}
	}
}

func TestKey_ApplicationsAreKeptOnceAndForgottenWhenUnused(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	put := func(app, id int) session.Key {
		k := session.KeyOf(fmt.Appendf(nil, "/LM/W3SVC/%d/ROOT/%d", app, id))
		f.Set(k, session.Change{Body: f.body("x"), Timeout: 20})
		return k
	}
	var all []session.Key
	for app := range 100 {
		for id := range 10 {
			all = append(all, put(app, id))
		}
		if got := f.Stats().Apps; got != int64(app+1) {
			t.Fatalf("applications: got %d, want %d", got, app+1)
		}
	}
	for i, k := range all {
		f.Remove(k, 0)
		if got, want := f.Stats().Apps, int64(99-i/10); i%10 == 9 && got != want {
			t.Fatalf("applications, %d sessions removed: got %d, want %d", i+1, got, want)
		}
		if i%100 == 50 { // numbers are used again
			f.Remove(put(1000+i, 0), 0)
		}
		if i%100 == 0 {
			if err := f.Check(0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A key whose two parts are the same bytes must not be in the same chain as all others like it.
func TestKey_EqualPartsAreSpreadLikeOthers(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	used := map[int]bool{}
	for i := range 256 {
		part := fmt.Sprintf("%0255d", i)
		used[f.ShardOf(session.KeyOf([]byte(part+part)))] = true
	}
	if len(used) < 32 {
		t.Errorf("256 keys are in %d of 64 shards", len(used))
	}
}

func TestRedacted_ShowsNothingOfTheKeyAndIsTheSameForTheSame(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, k := range keys {
		got := session.KeyOf([]byte(k)).Redacted()
		if len(got) != 12 || strings.Trim(got, "0123456789abcdef") != "" {
			t.Errorf("%.40q: got %q, want 12 hexadecimal digits", k, got)
		}
		if again := session.KeyOf([]byte(k)).Redacted(); again != got {
			t.Errorf("%.40q: got %q, then %q", k, got, again)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%.40q and %.40q: both are %q", k, other, got)
		}
		seen[got] = k
		if len(k) > 3 && strings.Contains(got, k) {
			t.Errorf("%q contains the key", got)
		}
	}
	a, b := session.KeyOf([]byte("deadbeef/cafe")).Redacted(), session.KeyOf([]byte("deadbeef/caff")).Redacted()
	if strings.Contains(a, "cafe") && strings.Contains(b, "caff") {
		t.Errorf("%q and %q contain their ids", a, b)
	}
}
