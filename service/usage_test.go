package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"statemesh/service"
	"statemesh/session"
)

const (
	hash44 = "oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854="
	hash28 = "rFlg8p6U4SNNj7SSJTCgM5GI9h4="
)

func TestParseAppID(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]service.AppID{
		"/LM/W3SVC/2/ROOT(" + hash44 + ")/":               {Path: "/LM/W3SVC/2/ROOT", Hash: hash44},
		"/LM/W3SVC/1446149547/Root(" + hash28 + ")/":      {Path: "/LM/W3SVC/1446149547/Root", Hash: hash28},
		"/LM/W3SVC/1/ROOT/shop (old)(" + hash44 + ")/":    {Path: "/LM/W3SVC/1/ROOT/shop (old)", Hash: hash44},
		"/LM/W3SVC/1/ROOT/Käse(" + hash44 + ")/":          {Path: "/LM/W3SVC/1/ROOT/Käse", Hash: hash44},
		"/94655a5b(" + hash44 + ")/":                      {Path: "/94655a5b", Hash: hash44},
		"/LM/W3SVC/1/ROOT(Ab cdefghijklmnopqrstuvwxyz=)/": {Path: "/LM/W3SVC/1/ROOT", Hash: "Ab cdefghijklmnopqrstuvwxyz="},
		"":                                       {},
		"/":                                      {},
		"(" + hash44 + ")/":                      {},
		"/LM/W3SVC/2/ROOT(" + hash44 + ")":       {},
		"/LM/W3SVC/2/ROOT" + hash44 + ")/":       {},
		"/LM/W3SVC/2/ROOT(" + hash44[:40] + ")/": {},
		"/LM/W3SVC/2/ROOT(" + hash44[:43] + "-)/":                     {},
		"/LM/W3SVC/2/ROOT(" + strings.Repeat("é", 14) + ")/":          {},
		"/LM/W3SVC/2/ROOT\n(" + hash44 + ")/":                         {},
		"/LM/W3SVC/2/RO\u202eOT(" + hash44 + ")/":                     {},
		"/" + strings.Repeat("x", 1024) + "(" + hash44 + ")/":         {},
		"/LM/W3SVC/2/ROOT(" + hash44 + ")/the beginning of a long id": {},
	} {
		got, ok := service.ParseAppID(prefix)
		if got != want || ok != (want != service.AppID{}) {
			t.Errorf("%q: got %+v, %v, want %+v", prefix, got, ok, want)
		}
	}
}

func FuzzParseAppID(f *testing.F) {
	f.Add("/LM/W3SVC/2/ROOT(" + hash44 + ")/")
	f.Add("/LM/W3SVC/2/ROOT/a(b(" + hash28 + ")/")
	f.Fuzz(func(t *testing.T, prefix string) {
		id, ok := service.ParseAppID(prefix)
		if ok != (id != service.AppID{}) || ok && id.Path+"("+id.Hash+")/" != prefix {
			t.Errorf("%q became %+v, %v", prefix, id, ok)
		}
	})
}

// inApp makes of a request for the usual application one for another: that of site n.
func inApp(n int, request string) string {
	return strings.Replace(request, "%2f2%2f", fmt.Sprintf("%%2f%d%%2f", n), 1)
}

func site(n int) string { return fmt.Sprintf("/LM/W3SVC/%d/ROOT", n) }

// used is what the node knows of the application with this path.
func (n *node) used(path string) service.AppUsage {
	all := n.Usage()
	if i := slices.IndexFunc(all, func(a service.AppUsage) bool { return a.Path == path }); i >= 0 {
		return all[i]
	}
	return service.AppUsage{}
}

func TestUsage_CountsRequestsByApplication(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		t.Parallel()
		n := start(t)
		w, v := n.dial(t), n.dial(t)
		for i := range 10 {
			w.want(200, set(sessionID(i), "0", "body"))
			v.want(200, inApp(3, set(sessionID(i), "0", "body")))
			v.want(200, inApp(3, get(sessionID(i))))
		}
		w.want(404, get("none"))
		w.want(200, inApp(3, head(sessionID(1)))) // nobody does so: a connection is one application's
		cookie := w.want(200, acquire(sessionID(1))).header("LockCookie")
		v.want(423, get(sessionID(1)))
		w.want(200, release(sessionID(1), cookie))
		w.want(400, release(sessionID(1), "nonsense"))
		for path, requests := range map[string]uint64{site(2): 10 + 4, site(3): 20 + 1} {
			got := n.used(path)
			if got.Requests != requests || got.Hash != hash44 || time.Since(got.LastSeen) > time.Minute {
				t.Errorf("%s: %+v, want %d requests, and the hash", path, got, requests)
			}
			if len(got.WebServers) != 1 || got.WebServers[0].Addr.String() != "127.0.0.1" || got.MoreWebServers {
				t.Errorf("%s: the web servers are %v, want one", path, got.WebServers)
			}
		}
		if got := n.Usage(); len(got) != 2 {
			t.Errorf("%d applications, want 2: %+v", len(got), got)
		}
	})
}

func TestUsage_WebServersHaveAddresses(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "darwin" {
		t.Skip("it has one loopback address only")
	}
	n := startNode(t)
	for _, addr := range []string{"127.0.0.3", "127.0.0.2", "127.0.0.3"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
		nc, err := d.DialContext(context.Background(), "tcp", n.Addrs().State)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		newWebServer(t, nc).want(200, set("s", "0", "body"))
	}
	got := n.used(site(2))
	if len(got.WebServers) != 2 || got.WebServers[0].Addr.String() != "127.0.0.2" || got.WebServers[1].Addr.String() != "127.0.0.3" {
		t.Errorf("the web servers are %v", got.WebServers)
	}
}

func TestUsage_KeepsNothingOfWhatMayNotExist(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.dial(t)
	w.want(404, get("none"))
	w.want(404, head("none"))
	w.want(404, remove("none", "0"))
	w.want(400, strings.Replace(set("s", "0", "body"), "Timeout:20", "Timeout:-20", 1))
	if got := n.Usage(); len(got) != 0 {
		t.Errorf("it knows %+v", got)
	}
}

// What is not an application id may hold anything, even a session's id.
func TestUsage_WhatIsNotOfASPNETsFormIsNobodys(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.dial(t)
	secret := strings.Repeat("secret", 50)
	for _, target := range []string{secret, "/" + secret, "/a/b/" + secret + "/c", app + secret} {
		w.want(200, strings.Replace(set("", "0", "body"), app, target, 1))
		w.want(200, strings.Replace(get(""), app, target, 1))
	}
	got := n.Usage()
	if len(got) != 1 || got[0].Path != "" || got[0].Hash != "" || got[0].Requests != 8 || got[0].Sketch != nil {
		t.Errorf("got %+v, want eight requests of no application", got)
	}
	text, err := json.Marshal(got)
	if err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("it says %s, %v", text, err)
	}
}

// The figures of the store and of the connections come together.
func TestUsage_HasWhatTheStoreHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := service.NewUsage()
		w := u.Asker(nil)
		w.Ask("/LM/W3SVC/1/ROOT("+hash44+")/s", true)
		got := u.Snapshot(
			session.AppStats{Prefix: "/LM/W3SVC/2/ROOT(" + hash44 + ")/", Sessions: 5, Locked: 1, BodyBytes: 500, SizeMedian: 100, SizeP99: 120, SizeLargest: 121},
			session.AppStats{Prefix: "/x/", Sessions: 3, BodyBytes: 30, SizeMedian: 10, SizeP99: 11, SizeLargest: 12},
			session.AppStats{Prefix: "", Sessions: 4, BodyBytes: 80, SizeMedian: 20, SizeP99: 21, SizeLargest: 22},
			session.AppStats{Prefix: "/y/", Sessions: 1, BodyBytes: 30, SizeMedian: 30, SizeP99: 30, SizeLargest: 30},
			session.AppStats{Prefix: "/LM/W3SVC/1/ROOT(" + hash44 + ")/", Sessions: 1, BodyBytes: 7, SizeMedian: 7, SizeP99: 7, SizeLargest: 7},
		)
		want := []service.AppUsage{
			{Sessions: 1, Bytes: 7, SizeMedian: 7, SizeP99: 7, SizeLargest: 7,
				Requests: 1, LastSeen: time.Now(), Sketch: []uint64{service.HashID([]byte("s"))}},
			{Sessions: 5, Locked: 1, Bytes: 500, SizeMedian: 100, SizeP99: 120, SizeLargest: 121},
			{Sessions: 8, Bytes: 140, SizeMedian: 20, SizeP99: 30, SizeLargest: 30},
		}
		want[0].Path, want[0].Hash = site(1), hash44
		want[1].Path, want[1].Hash = site(2), hash44
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

func key(n int, id string) string { return fmt.Sprintf("/LM/W3SVC/%d/ROOT(%s)/%s", n, hash44, id) }

func from(addr string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 1))
}

func TestUsage_ForgetsWebServersThatDoNotAskAnyMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := service.NewUsage()
		v, w := u.Asker(from("10.0.0.1")), u.Asker(from("::ffff:10.0.0.2"))
		want := func(what string, addrs ...string) {
			t.Helper()
			var got []string
			for _, w := range u.Snapshot()[0].WebServers {
				got = append(got, w.Addr.String())
			}
			if !slices.Equal(got, addrs) {
				t.Errorf("%s: got %v, want %v", what, got, addrs)
			}
		}
		v.Ask(key(1, "s"), true)
		w.Ask(key(1, "s"), true)
		want("two", "10.0.0.1", "10.0.0.2")
		for range 9 { // on a connection that has been open for long
			time.Sleep(time.Minute)
			w.Ask(key(1, "s"), true)
		}
		want("within ten minutes", "10.0.0.1", "10.0.0.2")
		time.Sleep(time.Minute + time.Second)
		want("after them", "10.0.0.2")
		v.Ask(key(1, "s"), true)
		want("again", "10.0.0.1", "10.0.0.2")
		time.Sleep(20 * time.Minute)
		want("nobody asks")
		time.Sleep(time.Second)
		if got := u.Snapshot(); len(got) != 0 {
			t.Errorf("later it knows %+v, want nothing", got)
		}
		if got := u.Snapshot(session.AppStats{Prefix: key(1, ""), Sessions: 1})[0].Requests; got != 12 {
			t.Errorf("with sessions left, it has %d requests, want 12", got)
		}
	})
}

func TestUsage_NoMoreWebServersThanItHasRoomFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := service.NewUsage()
		for i := range service.MaxWebServers {
			u.Asker(from(fmt.Sprintf("10.0.0.%d", i))).Ask(key(1, "s"), true)
		}
		if u.Snapshot()[0].MoreWebServers {
			t.Error("there are said to be more")
		}
		one := u.Asker(from("10.0.1.1"))
		one.Ask(key(1, "s"), true)
		if got := u.Snapshot()[0]; len(got.WebServers) != service.MaxWebServers || !got.MoreWebServers {
			t.Errorf("%d web servers are known, and more: %v", len(got.WebServers), got.MoreWebServers)
		}
		time.Sleep(10*time.Minute + time.Second)
		one.Ask(key(1, "s"), true)
		if got := u.Snapshot()[0]; len(got.WebServers) != 1 || got.MoreWebServers {
			t.Errorf("when the others have gone: %v, and more: %v", got.WebServers, got.MoreWebServers)
		}
	})
}

func TestUsage_NoMoreApplicationsThanItHasRoomFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := service.NewUsage()
		w := u.Asker(from("10.0.0.1"))
		for i := range service.MaxApps + 50 {
			w.Ask(key(i, "s"), true)
		}
		all := u.Snapshot()
		if last := all[len(all)-1]; len(all) != service.MaxApps+1 || last.Path != "" || last.Requests != 50 {
			t.Errorf("%d applications are known, and of the rest %d requests", len(all), last.Requests)
		}
		time.Sleep(10 * time.Minute)
		w.Ask(key(7, "s"), true)
		time.Sleep(15 * time.Minute) // the others have not been asked for within twenty
		w.Ask(key(service.MaxApps+1, "s"), true)
		all = u.Snapshot()
		if len(all) != 2 || all[0].Path != site(service.MaxApps+1) || all[1].Path != site(7) {
			t.Errorf("later it knows %+v", all)
		}
	})
}

// A connection that asks for one application again and again, whichever it is, allocates nothing and takes no lock of all connections' but once a second.
func TestUsage_CostsAConnectionNothing(t *testing.T) {
	u := service.NewUsage()
	filler := u.Asker(nil)
	for i := range service.MaxApps {
		filler.Ask(key(i, "s"), true)
	}
	for name, test := range map[string]struct {
		key    string
		exists bool
	}{
		"known":                      {key(1, "s"), true},
		"one too many":               {key(service.MaxApps+1, "s"), true},
		"not known":                  {key(service.MaxApps+1, "s"), false},
		"not of ASP.NET's form":      {"/some/thing/s", true},
		"longer than any":            {"/" + strings.Repeat("x", service.MaxAppID) + "/s", true},
		"longer than any, not known": {"/" + strings.Repeat("x", service.MaxAppID) + "/s", false},
		"none":                       {"s", true},
	} {
		t.Run(name, func(t *testing.T) {
			k := session.KeyOf([]byte(test.key))
			w := u.Asker(from("10.0.0.1"))
			w.AskAt(k, test.exists, 0)
			defer u.Hold()()
			asked := make(chan float64, 1)
			go func() {
				asked <- testing.AllocsPerRun(100, func() { w.AskAt(k, test.exists, time.Millisecond) })
			}()
			select {
			case got := <-asked:
				if got != 0 {
					t.Errorf("%v allocations, want none", got)
				}
			case <-time.After(10 * time.Second):
				t.Error("it waits for the list of applications")
			}
		})
	}
}

// Whoever names another application with each request is seen all the same.
func TestUsage_OthersAreSeenWhateverTheyName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := service.NewUsage()
		w := u.Asker(from("10.0.0.1"))
		for i := range 25 * 60 * 2 {
			w.Ask(fmt.Sprintf("/%d/s", i), true)
			time.Sleep(time.Second / 2)
		}
		got := u.Snapshot()
		if len(got) != 1 || time.Since(got[0].LastSeen) > 2*time.Second || len(got[0].WebServers) != 1 {
			t.Errorf("got %+v, want the others, seen just now", got)
		}
	})
}

// sketchOf is what the node knows of the session ids that were asked for.
func sketchOf(u service.Usage, n int) []uint64 {
	for _, a := range u.Snapshot() {
		if a.Path == site(n) {
			return a.Sketch
		}
	}
	return nil
}

func common(a, b []uint64) (n int) {
	for _, h := range a {
		if slices.Contains(b, h) {
			n++
		}
	}
	return n
}

func TestSketch_HasInCommonWhatApplicationsShare(t *testing.T) {
	t.Parallel()
	u, elsewhere := service.NewUsage(), service.NewUsage()
	v, w, x := u.Asker(nil), u.Asker(nil), elsewhere.Asker(nil)
	for i := range 2000 {
		v.Ask(key(1, sessionID(i)), true)
		if i%2 == 0 {
			w.Ask(key(2, sessionID(i)), true) // half of the first one's
		}
		w.Ask(key(3, sessionID(2000+i)), true)
		x.Ask(key(1, sessionID(1000+i)), true)
	}
	if got := common(sketchOf(u, 1), sketchOf(u, 2)); got < 5 {
		t.Errorf("of an application that has half of the other's, %d ids are seen to be the same", got)
	}
	if got := common(sketchOf(u, 1), sketchOf(elsewhere, 1)); got < 2 {
		t.Errorf("of one that has a third, at another node, %d ids are seen to be the same", got)
	}
	if got := common(sketchOf(u, 1), sketchOf(u, 3)); got != 0 {
		t.Errorf("of one that has none, %d ids are seen to be the same", got)
	}
}

func TestSketch_IsOfTheLastTenToTwentyMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := service.NewUsage()
		w := u.Asker(nil)
		began := time.Now()
		asked := map[string]time.Time{}
		for i := range 80 {
			id := sessionID(i)
			w.Ask(key(1, id), true)
			asked[id] = time.Now()
			got := sketchOf(u, 1)
			for id, at := range asked {
				has := slices.Contains(got, service.HashID([]byte(id)))
				if age := time.Since(at); age <= 10*time.Minute && !has || age > 20*time.Minute+time.Second && has {
					t.Errorf("after %v: of one asked for %v ago it knows: %v", time.Since(began), age, has)
				}
			}
			time.Sleep(47 * time.Second)
		}
		time.Sleep(18 * time.Minute)
		if got := sketchOf(u, 1); len(got) == 0 || len(got) > 13 {
			t.Errorf("18 minutes after the last it knows %d", len(got))
		}
		time.Sleep(90 * time.Second)
		if got := sketchOf(u, 1); len(got) != 0 {
			t.Errorf("almost 20 minutes after the last it knows %d", len(got))
		}
	})
}

func TestSketch_KeepsTheLowest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOf(rapid.Uint64Range(1, 200)).Draw(rt, "hashes")
		first := rapid.IntRange(0, len(all)).Draw(rt, "in the first sketch")
		var s, r service.Sketch
		for i, h := range all {
			if i < first {
				s.Add(h)
			} else {
				r.Add(h)
			}
		}
		got := service.Merged(&s, &r)
		slices.Sort(all)
		want := slices.Compact(all)
		want = want[:min(len(want), service.SketchSize)]
		if !slices.Equal(got, want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestSketch_ManyAtOnce(t *testing.T) {
	t.Parallel()
	var s service.Sketch
	var all []uint64
	random := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		all = append(all, random.Uint64()|1)
	}
	var wg sync.WaitGroup
	for part := range slices.Chunk(all, 500) {
		wg.Go(func() {
			for _, h := range append(part, all[:100]...) {
				s.Add(h)
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if got := service.Merged(&s, nil); !slices.Equal(got, all[:service.SketchSize]) {
		t.Errorf("got %x, want %x", got, all[:service.SketchSize])
	}
}

// Nodes of other versions must agree.
func TestHashID_StaysAsItIs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]uint64{
		"a":                        0x3bf9a24797df2d66,
		"bpr4mimb2vjnvtn2jc4yp3uo": 0x6a4b419de98a5d6,
		"bpr4mimb2vjnvtn2jc4yp3up": 0x9adb532c3f2d7b06,
		"a session's id that somebody has made himself": 0xb6bc11cb8c70c704,
	} {
		if got := service.HashID([]byte(id)); got != want {
			t.Errorf("%q: got %#x, want %#x", id, got, want)
		}
	}
}

func TestHashID_SpreadsIDs(t *testing.T) {
	t.Parallel()
	const n = 100_000
	seen := map[uint64]bool{}
	var ones [64]int
	for i := range n {
		h := service.HashID([]byte(sessionID(i)))
		seen[h] = true
		for ; h != 0; h &= h - 1 {
			ones[bits.TrailingZeros64(h)]++
		}
	}
	if len(seen) != n {
		t.Errorf("%d ids have %d hashes", n, len(seen))
	}
	for bit, k := range ones {
		if k < n/2-n/100 || k > n/2+n/100 {
			t.Errorf("bit %d is set in %d of %d", bit, k, n)
		}
	}
}

func TestUsage_ManyConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	const webServers, pages = 8, 50
	var wg sync.WaitGroup
	for i := range webServers {
		wg.Go(func() {
			w := n.dial(t)
			for j := range pages {
				w.want(200, inApp(i%3, set(sessionID(j), "0", "body")))
				w.want(200, inApp(i%3, get(sessionID(j))))
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for watching := true; watching; {
		select {
		case <-ended:
			watching = false
		default:
			n.Usage()
		}
	}
	var sum uint64
	for _, a := range n.Usage() {
		sum += a.Requests
	}
	if sum != webServers*pages*2 {
		t.Errorf("%d requests were counted, want %d", sum, webServers*pages*2)
	}
}

// BenchmarkUsage is what a request pays, of an application with few sessions and with many.
func BenchmarkUsage(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			u := service.NewUsage()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				w := u.Asker(from("10.0.0.1"))
				keys := make([]session.Key, n)
				for i := range keys {
					keys[i] = session.KeyOf([]byte(key(1, sessionID(i))))
				}
				for i := 0; pb.Next(); i++ {
					w.AskAt(keys[i%n], true, time.Duration(i)*10*time.Microsecond)
				}
			})
		})
	}
}
