package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"statemesh/cluster/internal/simnet"
)

// reporting nodes say how often they were asked, and in which phase they are.
func reporting(o *Options, phase func() string) {
	var asked atomic.Int64
	o.Report = func() []byte { return fmt.Appendf(nil, "%s %s %d", o.Name, phase(), asked.Add(1)) }
}

func steady() string { return "up" }

// heardOf is what a node has last heard of another; nothing if it has heard nothing.
func (n *node) heardOf(name string) (r Report) {
	for id, got := range n.Reports() {
		if got.Name == name {
			if id != got.ID {
				n.f.t.Errorf("the report of %s stands at %s", got.ID, id)
			}
			r = got
		}
	}
	return r
}

func TestReports_OfEveryLiveMember(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 31, 3, func(o *Options) { reporting(o, steady) })
		names := func(n *node) (all []string) {
			for _, r := range n.Reports() {
				all = append(all, r.Name)
			}
			slices.Sort(all)
			return all
		}
		others := map[string][]string{"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}
		time.Sleep(reportEvery + 10*ms)
		for range 5 {
			for _, n := range f.nodes() {
				if got := names(n); !slices.Equal(got, others[n.name]) {
					t.Errorf("%s has reports of %v", n.name, got)
				}
				for _, name := range others[n.name] {
					r := n.heardOf(name)
					if !strings.HasPrefix(string(r.Body), name+" up ") {
						t.Errorf("%s says %q", name, r.Body)
					}
					if age := time.Since(r.At); age > reportEvery+10*ms {
						t.Errorf("%s of %s is %v old", r.Body, name, age)
					}
				}
			}
			time.Sleep(700 * ms)
		}

		d := f.start("d", func(o *Options) { o.Report = nil }) // an older version
		f.meet()
		time.Sleep(reportEvery + 10*ms)
		if got := names(d); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("who says nothing has reports of %v", got)
		}
		if got := f.node("a").heardOf("d"); got.ID != "" {
			t.Errorf("it has said %q", got.Body)
		}

		f.kill("c")
		f.within(8*time.Second, "c's report is forgotten", func() bool { return f.node("a").heardOf("c").ID == "" })
		if err := f.leave("b"); err != nil {
			t.Error(err)
		}
		f.within(8*time.Second, "b's report is forgotten", func() bool { return f.node("a").heardOf("b").ID == "" })
		if got := f.node("a").Reports(); len(got) != 0 {
			t.Errorf("reports of %v", got)
		}
	})
}

func TestReports_TellOfANewPhaseAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var draining atomic.Bool
		f := newFarm(t, 32, 2, func(o *Options) {
			if o.Name == "b" {
				reporting(o, func() string { return map[bool]string{false: "up", true: "draining"}[draining.Load()] })
			}
		})
		time.Sleep(2*reportEvery + 50*ms)
		draining.Store(true)
		if err := f.node("b").Drain(context.Background()); err != nil {
			t.Error(err)
		}
		f.within(10*ms, "a knows", func() bool { return strings.Contains(string(f.node("a").heardOf("b").Body), "draining") })
	})
}

// What is too long is not told, and that is logged once.
func TestReports_HaveALimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var size atomic.Int64
		size.Store(MaxReport + 1)
		f := newFarm(t, 33, 2, func(o *Options) { o.Report = func() []byte { return make([]byte, size.Load()) } })
		a := f.node("a")
		time.Sleep(10 * time.Second)
		if got := a.Reports(); len(got) != 0 {
			t.Errorf("%d reports", len(got))
		}
		if said := strings.Count(a.log.String(), "is too much, and is not told"); said != 1 {
			t.Errorf("logged %d times", said)
		}
		size.Store(MaxReport)
		time.Sleep(reportEvery + 10*ms)
		if got := len(a.heardOf("b").Body); got != MaxReport {
			t.Errorf("%d bytes", got)
		}
	})
}

// Whoever makes a report may ask the node for anything, also while it stops.
func TestReports_MayAskTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var n atomic.Pointer[Node]
		f := newFarm(t, 34, 2, func(o *Options) {
			if o.Name == "b" {
				o.Report = func() []byte {
					n := n.Load()
					if n == nil {
						return nil
					}
					return fmt.Append(nil, n.Members(), n.Stats(), n.Events(), n.Progress(), n.Reports(), n.Bouncing(), n.Addrs())
				}
			}
		})
		n.Store(f.node("b").Node)
		time.Sleep(reportEvery + 10*ms)
		if got := f.node("a").heardOf("b"); len(got.Body) == 0 {
			t.Error("nothing was said")
		}
		if err := f.leave("b"); err != nil {
			t.Error(err)
		}
	})
}

func TestMembers_ShowHowFarClocksAreApart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ahead := map[string]time.Duration{"a": 0, "b": 5 * time.Second, "c": -time.Minute}
		f := newFarm(t, 35, 3, func(o *Options) { o.clock = func() time.Time { return time.Now().Add(ahead[o.Name]) } })
		time.Sleep(3 * time.Second)
		for _, n := range f.nodes() {
			for _, m := range n.Members() {
				want := ahead[m.Name] - ahead[n.name]
				if wrong := m.ClockAhead - want; max(wrong, -wrong) > 2*ms {
					t.Errorf("%s finds %s %v ahead, want %v", n.name, m.Name, m.ClockAhead, want)
				}
			}
		}
	})
}

// twoNets is a machine whose transfers go over another network than its gossip.
type twoNets struct {
	hosted
	data *simnet.Host
}

func (h twoNets) Listen(network, addr string) (net.Listener, error) {
	return h.data.Listen(network, addr)
}

func (h twoNets) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return h.data.Dial(ctx, network, addr)
}

func dataIP(name string) string { return strings.Replace(ip(name), "10.0.0.", "10.1.0.", 1) }

// A member that gossips, and whose transfer port is behind a firewall which swallows what is sent to it, is shown so, with the reason; and is shown
// well when it is.
func TestMembers_ShowWhoseTransferPortIsBlocked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var f *farm
		split := func(o *Options) {
			h := o.network.(hosted)
			o.network = twoNets{h, h.n.f.net.Host(dataIP(o.Name))}
			o.Transfer = dataIP(o.Name) + ":42426"
		}
		f = newFarm(t, 36, 3, split)
		at := func(n, other string) Member {
			all := f.node(n).Members()
			return all[slices.IndexFunc(all, func(m Member) bool { return m.Name == other })]
		}
		block := func() {
			for _, name := range []string{"a", "b"} {
				f.net.CutOneWay(dataIP(name), dataIP("c"))
			}
		}
		for range 2 {
			time.Sleep(3*time.Second + 170*ms)
			block()
			took := f.within(5*time.Second, "shown", func() bool { return !at("a", "c").Connected && !at("b", "c").Connected })
			if took > 3100*ms {
				t.Errorf("it was shown after %v", took)
			}
			for range 60 { // while it is given up, dialed, given up again
				for _, name := range []string{"a", "b"} {
					m := at(name, "c")
					if m.Connected || m.State != "up" || !strings.Contains(m.LastError, "answer") {
						t.Errorf("%s sees %s: connected %v, %q", name, m.State, m.Connected, m.LastError)
					}
				}
				if m := at("a", "b"); !m.Connected {
					t.Errorf("b is shown unconnected as well: %q", m.LastError)
				}
				time.Sleep(210 * ms)
			}
			f.net.Heal()
			took = f.within(6*time.Second, "shown well", func() bool { return at("a", "c").Connected && at("b", "c").Connected })
			if took > 3100*ms {
				t.Errorf("it was shown well after %v", took)
			}
		}

		// Also if it was never reached.
		f.net.CutOneWay(dataIP("a"), dataIP("d"))
		f.start("d")
		f.within(3*time.Second, "a knows d", func() bool { return f.node("a").Stats().Members == 4 })
		took := f.within(5*time.Second, "shown", func() bool { m := at("a", "d"); return !m.Connected && m.LastError != "" })
		if took > 2100*ms {
			t.Errorf("it was shown after %v", took)
		}
	})
}
