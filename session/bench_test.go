package session_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"statemesh/session"
)

// benchKey makes real-looking keys in a buffer of its own, as the wire does: a table of keys would cost the caches more than the store.
type benchKey [128]byte

const benchApp = "/LM/W3SVC/1/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/"

func (b *benchKey) of(i uint64) session.Key {
	k := append(b[:0], benchApp...)
	x := i*0x9E3779B97F4A7C15 + 1
	for range 24 {
		k = append(k, "abcdefghijklmnopqrstuvwxyz012345"[x>>59])
		x = x*6364136223846793005 + 1442695040888963407
	}
	return session.KeyOf(k)
}

var benchBody = make([]byte, 256)

func benchSet(st *session.Store, k session.Key, timeout, cookie int32) {
	body, err := st.NewBody(len(benchBody))
	if err != nil {
		panic(err)
	}
	body.Filled(copy(body.Next(), benchBody))
	if r := st.Set(k, session.Change{Body: body, Timeout: timeout, Cookie: cookie}); r.Outcome != session.Done {
		panic(r.Outcome)
	}
}

func benchStore(b *testing.B, sessions int, timeout int32) *session.Store {
	b.Helper()
	st, err := session.New(session.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var key benchKey
	for i := range sessions {
		benchSet(st, key.of(uint64(i)), timeout, 0)
	}
	return st
}

// benchPage is what a web server does for one page: acquire, and set with the cookie.
func benchPage(st *session.Store, k session.Key) {
	r := st.Acquire(k)
	if r.Outcome == session.Locked { // another goroutine is at the same session
		return
	}
	st.Settle(k, &r, true)
	benchSet(st, k, 20, r.Cookie)
}

func BenchmarkPage(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			st := benchStore(b, n, 20)
			defer st.Close()
			random := rand.New(rand.NewPCG(1, 2))
			var key benchKey
			b.ReportAllocs()
			for b.Loop() {
				benchPage(st, key.of(random.Uint64N(uint64(n))))
			}
		})
	}
}

func BenchmarkPageParallel(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			st := benchStore(b, n, 20)
			defer st.Close()
			var seed atomic.Uint64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				random := rand.New(rand.NewPCG(1, seed.Add(1)))
				var key benchKey
				for p.Next() {
					benchPage(st, key.of(random.Uint64N(uint64(n))))
				}
			})
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			st := benchStore(b, n, 20)
			defer st.Close()
			random := rand.New(rand.NewPCG(1, 2))
			var key benchKey
			b.ReportAllocs()
			for b.Loop() {
				k := key.of(random.Uint64N(uint64(n)))
				r := st.Get(k)
				st.Settle(k, &r, true)
			}
		})
	}
}

// BenchmarkCreate makes new sessions and removes them.
func BenchmarkCreate(b *testing.B) {
	st := benchStore(b, 10_000, 20)
	defer st.Close()
	var key benchKey
	b.ReportAllocs()
	for i := uint64(1 << 40); b.Loop(); i++ {
		k := key.of(i)
		benchSet(st, k, 20, 0)
		st.Remove(k, 0)
	}
}

// BenchmarkExpire removes 1,000,000 sessions that expire at the same time; the longest time that another request waits is measured as well.
func BenchmarkExpire(b *testing.B) {
	const n = 1_000_000
	var expiring, trimming, longest time.Duration
	rounds := 0
	for b.Loop() {
		b.StopTimer()
		st := benchStore(b, n, 1)
		var key benchKey
		benchSet(st, key.of(n), 60, 0)
		st.Leap(time.Minute + time.Second)
		done, waited := make(chan struct{}), make(chan time.Duration)
		go func() {
			var (
				key     benchKey
				longest time.Duration
			)
			for i := uint64(0); ; i++ {
				select {
				case <-done:
					waited <- longest
					return
				default:
				}
				k := key.of(n + i%1000) // all shards are asked; one of these is there
				began := time.Now()
				r := st.Get(k)
				longest = max(longest, time.Since(began))
				st.Settle(k, &r, true)
				runtime.Gosched()
			}
		}()
		b.StartTimer()
		began := time.Now()
		st.Expire()
		expiring += time.Since(began)
		close(done)
		longest += <-waited
		began = time.Now()
		st.Trim()
		st.Trim()
		trimming += time.Since(began)
		b.StopTimer()
		if got := st.Stats().Active; got != 1 {
			b.Fatalf("%d sessions are left, want 1", got)
		}
		st.Close()
		rounds++
		b.StartTimer()
	}
	b.ReportMetric(float64(expiring.Nanoseconds())/float64(rounds*n), "ns/session")
	b.ReportMetric(float64(trimming.Milliseconds())/float64(rounds), "ms-trim")
	b.ReportMetric(float64(longest.Microseconds())/float64(rounds), "µs-longest-wait")
}

// benchMeshed is a store in a cluster.
func benchMeshed(b *testing.B, sessions int) (*session.Store, *session.Moves) {
	b.Helper()
	st, err := session.New(session.Options{})
	if err != nil {
		b.Fatal(err)
	}
	moves, err := st.Cluster(session.Events{Left: func(string, uint64, session.Leaving) {}, Removed: func([]session.Removal) {}})
	if err != nil {
		b.Fatal(err)
	}
	var key benchKey
	for i := range sessions {
		body, err := st.NewBody(len(benchBody))
		if err != nil {
			b.Fatal(err)
		}
		body.Filled(copy(body.Next(), benchBody))
		st.Set(key.of(uint64(i)), session.Change{Body: body, Timeout: 20, Grant: session.Grant{Epoch: 1}})
	}
	return st, moves
}

// BenchmarkPageMeshed is BenchmarkPage on a store in a cluster.
func BenchmarkPageMeshed(b *testing.B) {
	const n = 10_000
	st, _ := benchMeshed(b, n)
	defer st.Close()
	random := rand.New(rand.NewPCG(1, 2))
	var key benchKey
	b.ReportAllocs()
	for b.Loop() {
		benchPage(st, key.of(random.Uint64N(n)))
	}
}

// BenchmarkMove lets sessions leave one store for another, as in a drain: what a node does for each, without the network.
func BenchmarkMove(b *testing.B) {
	const n = 200_000
	b.ReportAllocs()
	from, fromMoves := benchMeshed(b, n)
	to, toMoves := benchMeshed(b, 0)
	ticket := uint64(0)
	for b.Loop() {
		if ticket%n == 0 && ticket > 0 {
			from, to, fromMoves, toMoves = to, from, toMoves, fromMoves
		}
		for _, k := range fromMoves.Pick(1) {
			ticket++
			r := fromMoves.Leave(k, ticket, session.Terms{Any: true}).Record
			body, err := to.NewBody(len(r.Body.Bytes()))
			if err != nil {
				b.Fatal(err)
			}
			body.Filled(copy(body.Next(), r.Body.Bytes()))
			r.Epoch++
			r.Body = body.Stored()
			if _, ok := toMoves.Admit(k, r, false); !ok {
				b.Fatal("there is no room")
			}
			r.Body.Release()
			fromMoves.Forget(k, ticket)
			toMoves.Own(k, r)
		}
	}
	from.Close()
	to.Close()
}

// BenchmarkFence makes 1,000,000 sessions copies.
func BenchmarkFence(b *testing.B) {
	st, moves := benchMeshed(b, 1_000_000)
	defer st.Close()
	for term := uint64(1); b.Loop(); term++ {
		moves.Fence(term)
	}
}

// BenchmarkCopies looks for the last copy among 1,000,000 sessions.
func BenchmarkCopies(b *testing.B) {
	st, moves := benchMeshed(b, 1_000_000)
	defer st.Close()
	moves.Fence(1)
	for all := moves.Copies(1000); len(all) > 0; all = moves.Copies(1000) {
		for _, k := range all {
			if moves.Adopt(k, 2); moves.Look(k).Place != session.Owned {
				b.Fatal("it was not adopted")
			}
		}
	}
	var key benchKey
	benchSet(st, key.of(1), 20, 0)
	k := moves.Pick(1)[0]
	moves.Leave(k, 1, session.Terms{Any: true})
	moves.Doubt(k, 1)
	for b.Loop() {
		if len(moves.Copies(10)) != 1 {
			b.Fatal("it was not found")
		}
	}
}
