package session_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

// keep does Run's work all the time, until the returned function is called: much more often than Run does.
func (f farm) keep() (stop func()) {
	var all sync.WaitGroup
	done := make(chan struct{})
	for _, work := range []func(){f.Expire, f.Compact, f.Trim, func() { f.Stats() }} {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					work()
				}
			}
		})
	}
	return func() { close(done); all.Wait() }
}

// counter is a body: the number of pages, then filling that depends on it.
func counter(pages uint64, size int) string {
	b := make([]byte, 8+size)
	binary.LittleEndian.PutUint64(b, pages)
	for i := range b[8:] {
		b[8+i] = byte(pages + uint64(i))
	}
	return string(b)
}

func pagesIn(t *testing.T, body []byte) uint64 {
	pages := binary.LittleEndian.Uint64(body)
	if string(body) != counter(pages, len(body)-8) {
		t.Errorf("a body of %d pages is torn", pages)
	}
	return pages
}

// Pages are read-modify-write, on few sessions, in all ways in which a web server may do it. None may be lost, and no cookie may be
// handed out twice.
func TestConcurrency_NoPageIsLost(t *testing.T) {
	t.Parallel()
	const sessions, clients = 8, 32
	pages := 400
	if raceDetector {
		pages = 100
	}
	f := open(t, session.Options{MaxWaiting: 8})
	for i := range sessions {
		f.must(f.setUninitialised(id(i), counter(0, 10), 20, 0))
	}
	var (
		cookies [sessions]sync.Map // cookie → it was handed out
		done    [sessions]atomic.Uint64
		firsts  [sessions]atomic.Int64
		all     sync.WaitGroup
	)
	stop := f.keep()
	for c := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(c)))
			for range pages {
				i := random.IntN(sessions)
				k := key(id(i))
				r := f.Acquire(k)
				if r.Outcome != session.Done { // Locked or Busy: this client polls, on another session
					f.Settle(k, &r, true)
					continue
				}
				if _, twice := cookies[i].LoadOrStore(r.Cookie, true); twice {
					t.Errorf("cookie %d of session %d was handed out twice", r.Cookie, i)
				}
				n := pagesIn(t, r.Body())
				if delivered := random.IntN(8) > 0; !delivered { // the web server has gone away
					f.Settle(k, &r, false)
					continue
				}
				if r.First {
					firsts[i].Add(1)
				}
				f.Settle(k, &r, true)
				switch random.IntN(10) {
				case 0:
					u := f.Unlock(k, r.Cookie)
					if u.Outcome != session.Done {
						t.Errorf("unlock: got %v, want Done", answerOf(&u))
					}
					continue
				case 1: // a foreign cookie changes nothing
					s := f.set(id(i), counter(0, 5), 20, r.Cookie-1)
					if s.Outcome != session.Locked && s.Outcome != session.Busy {
						t.Errorf("set with another's cookie: got %v, want Locked", s)
					}
				case 2:
					f.setUninitialised(id(i), counter(0, 5), 20, 0)
				}
				s := f.set(id(i), counter(n+1, random.IntN(1<<random.IntN(12))), 20+int32(random.IntN(2)), r.Cookie)
				if s.Outcome != session.Done {
					t.Errorf("set: got %v, want Done", s)
					continue
				}
				done[i].Add(1)
			}
		})
		all.Go(func() { // and others who only look
			random := rand.New(rand.NewPCG(2, uint64(c)))
			for range pages {
				i := random.IntN(sessions)
				k := key(id(i))
				switch random.IntN(4) {
				case 0:
					f.Touch(k)
				case 1:
					r := f.Try().Get(k)
					f.Settle(k, &r, false)
				default:
					r := f.Get(k)
					if r.Outcome == session.Done {
						pagesIn(t, r.Body())
					}
					if r.First {
						firsts[i].Add(1)
					}
					f.Settle(k, &r, true)
				}
			}
		})
	}
	all.Wait()
	stop()
	for i := range sessions {
		f.unlock(id(i), f.Peek(key(id(i))).Cookie)
		if got, want := pagesIn(t, []byte(f.Peek(key(id(i))).Body)), done[i].Load(); got != want || want == 0 {
			t.Errorf("session %d: it counts %d pages, %d were done", i, got, want)
		}
		if got := firsts[i].Load(); got > 1 {
			t.Errorf("session %d: %d were told that it is new, want one", i, got)
		}
	}
}

// Sessions come and go under the hands of those who use them.
func TestConcurrency_SessionsComeAndGo(t *testing.T) {
	t.Parallel()
	const sessions, clients = 20, 16
	operations := 6000
	if raceDetector {
		operations = 1000
	}
	f := open(t, session.Options{ReadWait: time.Minute, ChangeWait: time.Minute})
	ids := f.ids(sessions, 1) // one shard: entries move about
	for i := range ids {
		if i%2 == 0 {
			ids[i] += "/a long one, which is kept outside the entry"
		}
	}
	var all sync.WaitGroup
	stop := f.keep()
	for c := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(c)))
			for range operations {
				id := ids[random.IntN(sessions)]
				var a answer
				switch random.IntN(8) {
				case 0, 1:
					a = f.set(id, counter(random.Uint64(), random.IntN(300)), int32(1+random.IntN(100)), session.NoCookie)
				case 2:
					a = f.remove(id, int32(random.IntN(4)))
				case 3:
					a = f.get(id)
				case 4, 5:
					if a = f.acquire(id); a.Outcome == session.Done {
						f.unlock(id, a.Cookie)
					}
				case 6:
					r := f.Acquire(key(id))
					a = answerOf(&r)
					f.Settle(key(id), &r, false)
				case 7:
					a = f.touch(id)
				}
				switch {
				case a.Body != "":
					pagesIn(t, []byte(a.Body))
				case a.Outcome == session.Busy:
					t.Error("a request waited in vain, though nobody keeps a session long")
				}
			}
		})
	}
	all.Wait()
	stop()
	if err := f.Check(0); err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		f.remove(id, f.Peek(key(id)).Cookie)
	}
	got := f.Stats()
	if got.Created != got.Abandoned || got.Active != 0 || got.UsedBytes != 0 || got.BodyBytes != 0 || got.Locked != 0 || got.Waiting != 0 || got.Apps != 0 {
		t.Errorf("after all are removed: got %+v, want nothing left", got)
	}
}

// Sessions expire in the middle of everything, while Run runs.
func TestConcurrency_SessionsExpireUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.run()
		var all sync.WaitGroup
		for c := range 24 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(c)))
				for range 300 {
					id := id(random.IntN(12))
					time.Sleep(time.Duration(random.IntN(40)) * time.Second / 2) // many at the same instant
					switch random.IntN(6) {
					case 0, 1:
						f.set(id, counter(random.Uint64(), 100), 1, 0)
					case 2:
						f.touch(id)
					case 3:
						r := f.Get(key(id))
						time.Sleep(time.Duration(random.IntN(90)) * time.Second) // a slow web server
						if r.Outcome == session.Done {
							pagesIn(t, r.Body())
						}
						f.Settle(key(id), &r, true)
					case 4:
						r := f.Acquire(key(id))
						time.Sleep(time.Duration(random.IntN(90)) * time.Second)
						if r.Outcome == session.Done {
							pagesIn(t, r.Body())
						}
						f.Settle(key(id), &r, random.IntN(2) == 0)
					case 5:
						f.remove(id, session.NoCookie)
					}
				}
			})
		}
		all.Wait()
		time.Sleep(time.Minute + 5*time.Second)
		got := f.Stats()
		if got.Created != got.Abandoned+got.TimedOut || got.TimedOut == 0 || got.Active != 0 || got.UsedBytes != 0 || got.Locked != 0 || got.Waiting != 0 || f.HeapLive() != 0 {
			t.Errorf("after all have expired: got %+v and %d live bytes, want nothing left", got, f.HeapLive())
		}
	})
}

// One session, and all want it at the same instant in which it goes, or in which they give up.
func TestConcurrency_WaitsEndInOneWay(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{ReadWait: 1, ChangeWait: 1000, MaxWaiting: 5})
	rounds := 300
	if raceDetector {
		rounds = 60
	}
	for n := range rounds {
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		var all sync.WaitGroup
		for c := range 16 {
			all.Go(func() {
				switch (c + n) % 5 {
				case 0:
					f.remove("s", session.NoCookie)
				case 1, 2:
					f.tryToTake("s")
				case 3:
					f.touch("s")
				case 4:
					f.get("s")
				}
			})
		}
		giveUp()
		all.Wait()
		f.remove("s", session.NoCookie)
		if got := f.Stats(); got.Active != 0 || got.Waiting != 0 || got.Locked != 0 {
			t.Fatalf("round %d: got %+v, want nothing left", n, got)
		}
	}
}

// tryToTake acquires a session, if it can, and takes it back.
func (f farm) tryToTake(id string) {
	r := f.Acquire(key(id))
	f.Settle(key(id), &r, false)
}

func TestConcurrency_ApplicationsComeAndGo(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	var all sync.WaitGroup
	for c := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(c)))
			for range 1500 {
				k := session.KeyOf(fmt.Appendf(nil, "/app%d/%d", random.IntN(30), c))
				if random.IntN(2) == 0 {
					f.Set(k, session.Change{Body: f.body("x"), Timeout: 20})
				} else {
					f.Remove(k, 0)
				}
				r := f.Get(k)
				f.Settle(k, &r, true)
			}
			for app := range 30 {
				f.Remove(session.KeyOf(fmt.Appendf(nil, "/app%d/%d", app, c)), 0)
			}
		})
	}
	all.Wait()
	if got := f.Stats(); got.Apps != 0 || got.UsedBytes != 0 {
		t.Errorf("after all are removed: got %+v, want nothing left", got)
	}
}
