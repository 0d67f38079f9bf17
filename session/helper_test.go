package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statemesh/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// farm is a store with a small vocabulary: what web servers do with it, each answer read and settled. A session is named by its id; all are
// of one application.
type farm struct {
	t testing.TB
	*session.Store
}

// open makes an empty store. At the end of the test every link in it is checked, and that nobody has kept a body.
func open(t testing.TB, o session.Options) farm {
	t.Helper()
	st, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Check(0); err != nil {
			t.Errorf("the store is not sound: %v", err)
		}
		st.Close()
	})
	return farm{t, st}
}

const app = "/LM/W3SVC/1/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/"

func key(id string) session.Key { return session.KeyOf([]byte(app + id)) }

// answer is a reply in full, comparable.
type answer struct {
	Outcome session.Outcome
	First   bool
	Cookie  int32
	LockAge time.Duration
	Timeout int32
	Body    string
}

func answerOf(r *session.Reply) answer {
	return answer{r.Outcome, r.First, r.Cookie, r.LockAge, r.Timeout, string(r.Body())}
}

var outcomes = map[session.Outcome]string{
	session.Done: "Done", session.NotFound: "NotFound", session.Locked: "Locked",
	session.BadCookie: "BadCookie", session.Full: "Full", session.Busy: "Busy", session.Taken: "Taken",
}

func (a answer) String() string {
	body := a.Body
	if len(body) > 40 {
		body = fmt.Sprintf("%s… (%d bytes)", body[:40], len(a.Body))
	}
	return fmt.Sprintf("{%s first=%v cookie=%d age=%v timeout=%d %q}", outcomes[a.Outcome], a.First, a.Cookie, a.LockAge, a.Timeout, body)
}

// body makes a body that says text.
func (f farm) body(text string) *session.Body {
	f.t.Helper()
	b, err := f.NewBody(len(text))
	if err != nil {
		f.t.Fatalf("a body of %d bytes: %v", len(text), err)
	}
	fill(b, text)
	return b
}

func fill(b *session.Body, text string) {
	for !b.Full() {
		n := copy(b.Next(), text)
		text = text[n:]
		b.Filled(n)
	}
}

func (f farm) get(id string) answer {
	r := f.Get(key(id))
	defer f.Settle(key(id), &r, true)
	return answerOf(&r)
}

func (f farm) acquire(id string) answer {
	r := f.Acquire(key(id))
	defer f.Settle(key(id), &r, true)
	return answerOf(&r)
}

func (f farm) set(id, body string, minutes, cookie int32) answer {
	r := f.Set(key(id), session.Change{Body: f.body(body), Timeout: minutes, Cookie: cookie})
	return answerOf(&r)
}

func (f farm) setUninitialised(id, body string, minutes, cookie int32) answer {
	r := f.Set(key(id), session.Change{Body: f.body(body), Timeout: minutes, Cookie: cookie, Uninitialised: true})
	return answerOf(&r)
}

func (f farm) unlock(id string, cookie int32) answer {
	r := f.Unlock(key(id), cookie)
	return answerOf(&r)
}

func (f farm) remove(id string, cookie int32) answer {
	r := f.Remove(key(id), cookie)
	return answerOf(&r)
}

func (f farm) touch(id string) answer {
	r := f.Touch(key(id))
	return answerOf(&r)
}

// must fails the test unless the operation was Done.
func (f farm) must(a answer) answer {
	f.t.Helper()
	if a.Outcome != session.Done {
		f.t.Fatalf("got %v, want Done", a)
	}
	return a
}

// is checks an answer.
func (f farm) is(what string, got, want answer) {
	f.t.Helper()
	if got != want {
		f.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// text is n bytes, different for each seed.
func text(seed, n int) string {
	s := fmt.Sprintf("<%d>", seed)
	return strings.Repeat(s, n/len(s)+1)[:n]
}

// ids makes n ids whose sessions are all in the first few shards.
func (f farm) ids(n, shards int) []string {
	all := make([]string, 0, n)
	for i := 0; len(all) < n; i++ {
		if id := fmt.Sprintf("id%d", i); f.ShardOf(key(id)) < shards {
			all = append(all, id)
		}
	}
	return all
}
