package service_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The promise of exclusive access, kept under load: pages that read, change and write sessions, many at once. No change may be lost
// and no lock be given to two. One half of the web servers is served by event loops, where there are any, the other by goroutines: so the two
// meet each other on every session, too.
func TestPages(t *testing.T) {
	const (
		clients  = 64
		sessions = 200
	)
	pages := 100_000
	if testing.Short() {
		pages = 10_000
	}
	n := startNode(t)
	var book [sessions]struct {
		acquire string
		sync.Mutex
		pages   uint64
		cookies []int32
	}
	setup := n.dial(t)
	for i := range sessions {
		book[i].acquire = acquire(sessionID(i))
		setup.want(200, set(sessionID(i), "0", counterBody(0)))
	}

	var wg sync.WaitGroup
	for client := range clients {
		dial := n.dial
		if client%2 == 1 {
			dial = n.dialAside
		}
		w := dial(t)
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(client)))
			for page := client; page < pages; page += clients {
				i := r.IntN(sessions)
				b := &book[i]
				a := w.ask(b.acquire)
				for ; a.status == "423 Locked"; a = w.ask(b.acquire) {
					runtime.Gosched()
				}
				cookie, err := strconv.ParseInt(a.header("LockCookie"), 10, 32)
				if a.status != "200 OK" || err != nil {
					t.Errorf("acquire: %q", a.raw)
					return
				}
				b.Lock()
				b.pages++
				b.cookies = append(b.cookies, int32(cookie))
				b.Unlock()
				if a := w.ask(set(sessionID(i), a.header("LockCookie"), counterBody(counterOf(t, a.body)+1))); a.status != "200 OK" {
					t.Errorf("set with the lock held: %q", a.raw)
					return
				}
			}
		})
	}
	wg.Wait()

	var total uint64
	for i := range sessions {
		b := &book[i]
		if got := counterOf(t, setup.want(200, get(sessionID(i))).body); got != b.pages {
			t.Errorf("session %d counts %d pages, %d were done on it", i, got, b.pages)
		}
		total += b.pages
		slices.Sort(b.cookies)
		if distinct := slices.Compact(slices.Clone(b.cookies)); len(distinct) != len(b.cookies) {
			t.Errorf("session %d: cookies were handed out twice: %d of %d are distinct", i, len(distinct), len(b.cookies))
		}
	}
	if total != uint64(pages) {
		t.Errorf("%d pages were done, want %d", total, pages)
	}
}

func sessionID(i int) string { return fmt.Sprintf("session%017d", i) }

// counterBody holds a counter and, so that a torn body shows, as many bytes of the same value as it says.
func counterBody(n uint64) string {
	b := binary.LittleEndian.AppendUint64(nil, n)
	return string(b) + strings.Repeat(string(rune('a'+n%26)), int(100+n%400))
}

func counterOf(t *testing.T, body string) uint64 {
	if len(body) < 8 {
		t.Errorf("body is %q", body)
		return 0
	}
	n := binary.LittleEndian.Uint64([]byte(body))
	if body != counterBody(n) {
		t.Errorf("body of counter %d is torn: %q", n, body)
	}
	return n
}
