package gossip

import (
	"testing"
	"time"

	"github.com/hashicorp/go-metrics"

	"statemesh/cluster/internal/simnet"
)

// Every figure of memberlist's is somewhere, and each node has its own, though all are in one process.
func TestFigures_AreMemberlistsOwn(t *testing.T) {
	t.Parallel()
	inBubble(t, 71, func(w *world) {
		w.net.Faults(simnet.Faults{Delay: time.Millisecond})
		a := w.start(0, nil)
		if got := a.Stats(); got.Alive == 0 || got.Suspect != 0 || got.Probe.Count != 0 {
			t.Errorf("alone: %+v", got.Figures)
		}
		b, c := w.start(1, []string{ip(0)}), w.start(2, []string{ip(0)})
		w.within(3*time.Second, "whole", w.whole)
		time.Sleep(20 * time.Second)
		for _, n := range []*node{a, b, c} {
			got := n.Stats().Figures
			if got.Alive < 3 || got.Suspect != 0 || got.Dead != 0 || got.DegradedProbes != 0 || got.DegradedTimeouts != 0 || got.Queue != 0 {
				t.Errorf("%s in peace: %+v", n.o.ID, got)
			}
			if got.Probe.Count < 90 || got.Probe.Count > 110 || got.Probe.Took < 180*time.Millisecond || got.Probe.Took > 300*time.Millisecond {
				t.Errorf("%s: probes in 20s, one each 200ms that takes 2: %+v", n.o.ID, got.Probe)
			}
			if got.Spread.Count == 0 || got.Compare.Count == 0 || got.StreamsIn+got.StreamsOut == 0 || got.PacketBytesOut == 0 || got.StreamBytesOut == 0 ||
				got.NotesIn < 100 || got.NotesIn > 10_000 {
				t.Errorf("%s: %+v", n.o.ID, got)
			}
		}
		before := a.Stats()
		c.crash()
		time.Sleep(10 * time.Second)
		if got := a.Stats(); got.Suspect == before.Suspect || got.Dead == before.Dead {
			t.Errorf("after a death: %+v, before: %+v", got.Figures, before.Figures)
		}
		a.Stop()
		stopped := a.Stats().Figures
		time.Sleep(10 * time.Second)
		if got := a.Stats().Figures; got != stopped {
			t.Errorf("after the end: %+v, was %+v", got, stopped)
		}
	})
}

// What is nobody's, or not known, is left; and a node that is gone is forgotten.
func TestSink_LeavesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	var f figures
	labels, stop := f.collect()
	both := func(labels []metrics.Label) {
		for _, key := range [][]string{
			nil, {"memberlist"}, {"memberlist", "gossip"}, {"memberlist", "msg", "alive"}, {"memberlist", "msg", "new"}, {"memberlist", "queue", "broadcasts"},
			{"memberlist", "node", "instances"}, {"memberlist", "size", "local", "more"}, {"runtime", "alloc_bytes"},
		} {
			metrics.IncrCounterWithLabels(key, 1, labels)
			metrics.AddSampleWithLabels(key, 1, labels)
			metrics.SetGaugeWithLabels(key, 1, labels)
		}
	}
	want := Figures{Alive: 1, Queue: 1, Spread: Timing{1, 1}}
	both(labels)
	if got := f.now(); got != want {
		t.Errorf("got %+v", got)
	}
	both(nil)
	both([]metrics.Label{{Name: "another", Value: labels[0].Value}})
	stop()
	both(labels)
	if got := f.now(); got != want {
		t.Errorf("what was not this node's is: %+v", got)
	}
}
