package gossip

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/cluster/internal/simnet"
)

// shapes are ways to write seed lists.
var shapes = map[string]func(i, n int) []string{
	"ring":       func(i, n int) []string { return []string{ip((i + 1) % n)} },
	"first":      func(i, n int) []string { return []string{ip(0)} },
	"last":       func(i, n int) []string { return []string{ip(n - 1)} },
	"two levels": func(i, n int) []string { return []string{ip(max(0, i-1) / 3)} }, // 0 is known by 1 to 3, 1 by 4 to 6, 2 by 7 to 9
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
	for name, list := range shapes {
		for _, pause := range pick([]time.Duration{0}, []time.Duration{0, 700 * time.Millisecond, 8 * time.Second}) {
			t.Run(fmt.Sprintf("%s/%v", name, pause), func(t *testing.T) {
				t.Parallel()
				runs(t, func(w *world) time.Duration {
					const n = 9
					for i := range n {
						if i > 0 {
							time.Sleep(pause)
						}
						w.start(i, list(i, n))
					}
					took := w.within(3*time.Second, "whole", w.whole)
					w.stays(5 * time.Second)
					return took
				})
			})
		}
	}
}

// runs a case in as many bubbles as asked for, and tells the longest it took.
func runs(t *testing.T, f func(w *world) time.Duration) {
	t.Helper()
	var longest time.Duration
	var sum time.Duration
	for seed := range *seeds {
		inBubble(t, seed, func(w *world) {
			took := f(w)
			longest = max(longest, took)
			sum += took
		})
	}
	t.Logf("%d runs: mean %v, longest %v", *seeds, sum/time.Duration(*seeds), longest)
}

// stays checks that nobody comes or goes for a while.
func (w *world) stays(d time.Duration) {
	w.t.Helper()
	for range int(d / (100 * time.Millisecond)) {
		if !w.whole() {
			w.t.Errorf("it did not stay whole")
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestCrash_IsNoticedByAllWithinFourSeconds(t *testing.T) {
	t.Parallel()
	for _, n := range pick([]int{3, 5}, []int{2, 3, 4, 5, 6, 7, 8, 9}) {
		for _, before := range pick([]string{"", "one left"}, []string{"", "one left", "one restarted", "two restarted"}) {
			if n == 2 && before != "" && before != "one restarted" {
				continue
			}
			t.Run(fmt.Sprintf("%d nodes/%s", n, before), func(t *testing.T) {
				t.Parallel()
				runs(t, func(w *world) time.Duration {
					w.cluster(n)
					switch before {
					case "one left":
						w.nodes[0].leave()
					case "two restarted":
						w.nodes[1].leave()
						w.start(1, []string{ip(0)})
						w.nodes[0].leave()
						w.start(0, []string{ip(1)})
						w.within(3*time.Second, "whole", w.whole)
					case "one restarted":
						w.nodes[0].leave()
						w.start(0, []string{ip(1)})
						w.within(3*time.Second, "whole", w.whole)
					}
					time.Sleep(rand.N(time.Second))
					victim := w.nodes[n-1]
					start := time.Now()
					victim.crash()
					took := w.within(4*time.Second, "noticed", w.whole)
					synctest.Wait()
					for _, m := range w.up() {
						if m.when(start, Failed, victim.o.ID) == 0 {
							w.t.Errorf("%s was not told of the failure", m.o.ID)
						}
					}
					return took
				})
			})
		}
	}
}

func TestPause_OfTwoSecondsIsNoCrash(t *testing.T) {
	t.Parallel()
	for _, n := range pick([]int{2, 3, 5}, []int{2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			runs(t, func(w *world) time.Duration {
				w.cluster(n)
				time.Sleep(rand.N(time.Second))
				w.net.Pause(ip(1))
				time.Sleep(2 * time.Second)
				w.net.Resume(ip(1))
				time.Sleep(5 * time.Second)
				w.nobodyFailed()
				return 0
			})
		})
	}
}

func (w *world) nobodyFailed() {
	w.t.Helper()
	synctest.Wait()
	for _, n := range w.all {
		n.mu.Lock()
		if log := strings.Join(n.events, ", "); strings.Contains(log, "failed") {
			w.t.Errorf("%s took somebody for dead", n.o.ID)
		}
		n.mu.Unlock()
	}
}

func TestPause_OfTenSecondsHeals(t *testing.T) {
	t.Parallel()
	for _, n := range pick([]int{3}, []int{2, 3, 5, 9}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			runs(t, func(w *world) time.Duration {
				w.cluster(n)
				w.net.Pause(ip(n - 1))
				time.Sleep(10 * time.Second)
				w.net.Resume(ip(n - 1))
				took := w.within(5*time.Second, "whole", w.whole)
				w.stays(5 * time.Second)
				return took
			})
		})
	}
}

func TestLeave_IsNoFailure(t *testing.T) {
	t.Parallel()
	for _, n := range pick([]int{2, 5}, []int{2, 3, 9}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			runs(t, func(w *world) time.Duration {
				w.net.Faults(simnet.Faults{Loss: .05, Delay: 5 * time.Millisecond})
				w.cluster(n)
				start, leaver := time.Now(), w.nodes[0]
				leaver.leave()
				took := w.within(time.Second, "noticed", w.whole)
				time.Sleep(10 * time.Second)
				for _, m := range w.up() {
					if m.when(start, Left, leaver.o.ID) == 0 || m.when(start, Failed, leaver.o.ID) != 0 {
						w.t.Errorf("%s took it for something else", m.o.ID)
					}
					if strings.Contains(m.log.String(), "is no member of this cluster") {
						w.t.Errorf("%s tried to join the leaving member", m.o.ID)
					}
				}
				return took
			})
		})
	}
}

// Two that are stopped at once do not stay for each other: not who has heard that the other is gone.
func TestLeave_OfAllAtOnce(t *testing.T) {
	t.Parallel()
	runs(t, func(w *world) time.Duration {
		w.cluster(2)
		start := time.Now()
		var leaving sync.WaitGroup
		for i, n := range w.nodes {
			leaving.Go(func() {
				n.leave()
				took := time.Since(start)
				// memberlist has a second to tell who is not there any more
				if n.when(start, Left, w.nodes[1-i].o.ID) > 0 && took >= spread+time.Second+linger/2 {
					w.t.Errorf("%s took %v: it stayed for one that was gone", n.o.ID, took)
				}
			})
		}
		leaving.Wait()
		return time.Since(start)
	})
}

func TestSplit_HealsWithinTenSeconds(t *testing.T) {
	t.Parallel()
	type sides struct{ a, b int }
	for _, c := range pick([]sides{{1, 2}}, []sides{{1, 1}, {1, 2}, {2, 3}, {1, 8}, {4, 5}}) {
		for _, d := range pick([]time.Duration{4 * time.Second, 40 * time.Second}, []time.Duration{4 * time.Second, 14 * time.Second, 70 * time.Second}) {
			for _, restart := range []string{"", "one side", "other side"} {
				t.Run(fmt.Sprintf("%d and %d/%v/%s", c.a, c.b, d, restart), func(t *testing.T) {
					t.Parallel()
					runs(t, func(w *world) time.Duration {
						n := c.a + c.b
						w.cluster(n)
						var a, b []string
						for i := range n {
							if i < c.a {
								a = append(a, ip(i))
							} else {
								b = append(b, ip(i))
							}
						}
						w.net.Split(a, b)
						time.Sleep(d)
						first, last := 0, 0
						switch restart {
						case "one side": // they know nobody of the other: those must find them
							last = c.a
						case "other side":
							first, last = c.a, n
						}
						for i := first; i < last; i++ {
							w.nodes[i].crash()
						}
						for i := first; i < last; i++ {
							w.start(i, []string{ip(first)})
						}
						if restart != "" {
							time.Sleep(5 * time.Second)
						}
						w.net.Heal()
						took := w.within(10*time.Second, "whole", w.whole)
						w.stays(5 * time.Second)
						return took
					})
				})
			}
		}
	}
}

func TestSplit_OfHoursHeals(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		w.cluster(2)
		w.net.Cut(ip(0), ip(1))
		time.Sleep(pick([]time.Duration{10 * time.Minute}, []time.Duration{50 * time.Minute})[0])
		w.net.Heal()
		w.within(10*time.Second, "whole", w.whole)
	})
}

// TestCut_OneWayIsBorne lets nothing come through from one member to another: the third one vouches for both.
func TestCut_OneWayIsBorne(t *testing.T) {
	t.Parallel()
	runs(t, func(w *world) time.Duration {
		w.cluster(3)
		w.net.CutOneWay(ip(0), ip(1))
		w.stays(30 * time.Second)
		w.nobodyFailed()
		w.net.Heal()
		return 0
	})
}

func TestLoss_IsBorne(t *testing.T) {
	t.Parallel()
	for _, n := range pick([]int{5}, []int{2, 3, 5, 9}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			runs(t, func(w *world) time.Duration {
				w.net.Faults(simnet.Faults{Loss: .05, Duplicate: .02, Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Stall: .05})
				for i := range n {
					w.start(i, []string{ip(0)})
				}
				took := w.within(3*time.Second, "whole", w.whole)
				w.stays(pick([]time.Duration{30 * time.Second}, []time.Duration{5 * time.Minute})[0])
				w.nobodyFailed()
				return took
			})
		})
	}
}
