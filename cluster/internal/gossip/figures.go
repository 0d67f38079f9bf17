package gossip

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-metrics"
)

// Figures are memberlist's own, counts since the start where nothing else is said.
type Figures struct {
	Queue            int    // news that waits to be passed on, when last looked at, every 5 s. It grows when there is more than packets can carry
	Alive            uint64 // messages taken in that say of a member that it is there,
	Suspect          uint64 // that it does not answer,
	Dead             uint64 // or that it is gone
	DegradedProbes   uint64 // probes at longer intervals, because this node was slow itself
	DegradedTimeouts uint64 // members taken for dead though fewer others confirmed it than should
	StreamsIn        uint64 // connections accepted
	StreamsOut       uint64 // and made
	PacketBytesOut   uint64
	StreamBytesOut   uint64
	NotesIn          int // bytes that this node was last sent to compare notes with: they grow with the members. 0 without encryption
	Probe            Timing
	Spread           Timing // news, to a few others
	Compare          Timing // notes, with one other
}

// Timing is how often something was done, and how long that took altogether.
type Timing struct {
	Count uint64
	Took  time.Duration
}

// figures are those of one node, as they come in.
type figures struct {
	alive, suspect, dead, degradedProbes, degradedTimeouts        atomic.Uint64
	streamsIn, streamsOut, packetBytesOut, streamBytesOut         atomic.Uint64
	queue, notesIn                                                atomic.Int64
	probes, spreads, compares, probeTook, spreadTook, compareTook atomic.Int64
}

// memberlist gives its figures to a sink of the process's, whatever node they are of, and there is no other way to most of them. So there is one sink,
// the one thing here that belongs to no Membership; it tells nodes apart by a label that each has memberlist put to its figures.
var (
	useSink = sync.OnceFunc(func() {
		// It can only fail if it cannot start what is off here.
		_, _ = metrics.NewGlobal(&metrics.Config{FilterDefault: true, TimerGranularity: time.Nanosecond}, &sink{})
	})
	nodes  sync.Map // of *figures, by label
	lastID atomic.Uint64
)

const nodeLabel = "membership"

// collect has a node's figures come in, by these labels, until stop.
func (f *figures) collect() (labels []metrics.Label, stop func()) {
	useSink()
	id := strconv.FormatUint(lastID.Add(1), 10)
	nodes.Store(id, f)
	return []metrics.Label{{Name: nodeLabel, Value: id}}, func() { nodes.Delete(id) }
}

func figuresOf(labels []metrics.Label) *figures {
	for _, l := range labels {
		if l.Name == nodeLabel {
			f, _ := nodes.Load(l.Value)
			of, _ := f.(*figures)
			return of
		}
	}
	return nil
}

// sink takes memberlist's figures. Those that it does not know it leaves; and three that it does: "health score", which can be asked for at any time;
// "node instances", which the table knows at once and not every few seconds; and "size local", which is four bytes of something else.
type sink struct{ metrics.BlackholeSink }

// The sink's methods are called with what memberlist calls a figure, in three parts at most: "memberlist", "msg", "alive".

func (sink) IncrCounterWithLabels(key []string, v float32, labels []metrics.Label) {
	f := figuresOf(labels)
	if f == nil {
		return
	}
	if c := f.counter(key); c != nil {
		c.Add(uint64(v))
	}
}

func (f *figures) counter(key []string) *atomic.Uint64 {
	if len(key) != 3 {
		return nil
	}
	switch key[1] + " " + key[2] {
	case "msg alive":
		return &f.alive
	case "msg suspect":
		return &f.suspect
	case "msg dead":
		return &f.dead
	case "degraded probe":
		return &f.degradedProbes
	case "degraded timeout":
		return &f.degradedTimeouts
	case "tcp accept":
		return &f.streamsIn
	case "tcp connect":
		return &f.streamsOut
	case "udp sent":
		return &f.packetBytesOut
	case "tcp sent":
		return &f.streamBytesOut
	}
	return nil
}

func (sink) AddSampleWithLabels(key []string, v float32, labels []metrics.Label) {
	f := figuresOf(labels)
	if f == nil {
		return
	}
	switch {
	case len(key) == 3 && key[1] == "queue":
		f.queue.Store(int64(v))
	case len(key) == 3 && key[1] == "size" && key[2] == "remote":
		f.notesIn.Store(int64(v))
	case len(key) != 2:
	case key[1] == "probeNode":
		f.probes.Add(1)
		f.probeTook.Add(int64(v))
	case key[1] == "gossip":
		f.spreads.Add(1)
		f.spreadTook.Add(int64(v))
	case key[1] == "pushPullNode":
		f.compares.Add(1)
		f.compareTook.Add(int64(v))
	}
}

// now is what they are.
func (f *figures) now() Figures {
	timing := func(count, took *atomic.Int64) Timing {
		return Timing{Count: uint64(count.Load()), Took: time.Duration(took.Load())}
	}
	return Figures{
		Queue: int(f.queue.Load()),
		Alive: f.alive.Load(), Suspect: f.suspect.Load(), Dead: f.dead.Load(),
		DegradedProbes: f.degradedProbes.Load(), DegradedTimeouts: f.degradedTimeouts.Load(),
		StreamsIn: f.streamsIn.Load(), StreamsOut: f.streamsOut.Load(),
		PacketBytesOut: f.packetBytesOut.Load(), StreamBytesOut: f.streamBytesOut.Load(),
		NotesIn: int(f.notesIn.Load()),
		Probe:   timing(&f.probes, &f.probeTook), Spread: timing(&f.spreads, &f.spreadTook), Compare: timing(&f.compares, &f.compareTook),
	}
}
