package gossip

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// shapes are ways to write seed lists.
var shapes = map[string]func(i, n int) []string{
	"ring":            func(i, n int) []string { return []string{ip((i + 1) % n)} },
	"star":            func(i, n int) []string { return []string{ip(0)} },
	"star-known-last": func(i, n int) []string { return []string{ip(n - 1)} },
	"stars-of-stars": func(i, n int) []string { // 0 is known by 3 and 6, 3 by 4 and 5, and so on
		if i%3 == 0 {
			return []string{ip(0)}
		}
		return []string{ip(i / 3 * 3)}
	},
	"chain": func(i, n int) []string {
		if i == n-1 {
			return nil
		}
		return []string{ip(i + 1)}
	},
	"everyone": func(i, n int) []string {
		var all []string
		for j := range n {
			all = append(all, ip(j)+":42425")
		}
		return all
	},
}

func TestJoin_AnyShapeOfSeedsIsWholeWithinThreeSeconds(t *testing.T) {
	t.Parallel()
	for name, seeds := range shapes {
		for _, n := range []int{3, 9} {
			for _, pause := range []time.Duration{0, 8 * time.Second} {
				t.Run(fmt.Sprintf("%s/%d/%v", name, n, pause), func(t *testing.T) {
					t.Parallel()
					inBubble(t, 1, func(w *world) {
						for i := range n {
							if i > 0 {
								time.Sleep(pause)
							}
							w.start(i, seeds(i, n))
						}
						took := w.within(3*time.Second, "whole", w.whole)
						t.Logf("%v", took)
						for range 10 {
							time.Sleep(time.Second)
							if !w.whole() {
								t.Fatal("it did not stay so")
							}
						}
					})
				})
			}
		}
	}
}

func TestCrash_IsNoticedByAllWithinFourSeconds(t *testing.T) {
	t.Parallel()
	for n := 2; n <= 9; n++ {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%d/%d", n, seed), func(t *testing.T) {
				t.Parallel()
				inBubble(t, seed, func(w *world) {
					w.cluster(n)
					victim := w.nodes[n-1]
					start := time.Now()
					victim.crash()
					took := w.within(4*time.Second, "noticed", w.whole)
					t.Logf("%v", took)
					synctest.Wait()
					for _, m := range w.up() {
						if m.when(start, Failed, victim.o.ID) == 0 {
							t.Errorf("%s was not told of a failure: %v", m.o.ID, m.events)
						}
					}
				})
			})
		}
	}
}
