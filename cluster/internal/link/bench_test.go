package link

import (
	"sync/atomic"
	"testing"
	"time"

	"statemesh/wire/peer"
)

// BenchmarkSend is what the two ends of a connection cost together; cpu-us/op is the whole process's.
func BenchmarkSend(b *testing.B) {
	for _, secure := range []bool{true, false} {
		name := map[bool]string{true: "TLS", false: "plain"}[secure]
		for _, tt := range []struct {
			name string
			m    peer.Message
		}{
			{"commit", peer.Commit{Key: "/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5)/bpr4mimb2vjnvtn2jc4yp3uo", Transfer: 1}},
			{"push 1 KiB", push(1, 1024)},
			{"push 2.4 KB", push(1, 2400)},
			{"push 1 MiB", push(1, 1<<20)},
		} {
			b.Run(tt.name+" "+name, func(b *testing.B) { benchmarkSend(b, secure, tt.m) })
		}
	}
}

func benchmarkSend(b *testing.B, secure bool, m peer.Message) {
	w := newTown(b, nil, secure)
	var got atomic.Int64
	wake := make(chan struct{}, 1)
	free := make(chan *body, 1024)
	x := w.node("a")
	y := w.node("b", func(o *Options) {
		o.Receive = func(_ peer.NodeID, m peer.Message) {
			if p, ok := m.(peer.Push); ok {
				select {
				case free <- p.Record.Body.(*body):
				default:
				}
			}
			got.Add(1)
			select {
			case wake <- struct{}{}:
			default:
			}
		}
		o.NewBody = func(n int) (Body, error) {
			select {
			case b := <-free:
				b.filled = 0
				return b, nil
			default:
				return &body{bytes: make([]byte, n)}, nil
			}
		}
	})
	w.meet(x, y)
	until(b, "connected", func() bool { return x.status(y).Connected })

	window, round := int64(512), 32 // as a drain does: many under way, a few at a time
	p, isPush := m.(peer.Push)
	if isPush && p.Record.Size > smallBody {
		window, round = 8, 1
		b.SetBytes(int64(p.Record.Size))
	}
	b.ReportAllocs()
	b.ResetTimer()
	cpu := processCPU()
	for sent := int64(0); sent < int64(b.N); {
		for sent-got.Load() > window-int64(round) {
			<-wake
		}
		for range min(round, b.N-int(sent)) {
			if isPush {
				p.Transfer = uint64(sent)
				m = p
			}
			x.Send(y.id, m)
			sent++
		}
		x.Flush()
	}
	for got.Load() < int64(b.N) {
		<-wake
	}
	b.ReportMetric(float64(processCPU()-cpu)/float64(time.Microsecond)/float64(b.N), "cpu-us/op")
	b.StopTimer()
	if s := x.status(y); s.Dropped > 0 {
		b.Errorf("%d dropped", s.Dropped)
	}
}

// BenchmarkRoundTrip is a question and its answer, one at a time, over the two warm connections of a pair of nodes.
func BenchmarkRoundTrip(b *testing.B) {
	w := newTown(b, nil, true)
	var x, y *node
	back := make(chan struct{}, 1)
	x = w.node("a", func(o *Options) { o.Receive = func(peer.NodeID, peer.Message) { back <- struct{}{} } })
	y = w.node("b", func(o *Options) {
		o.Receive = func(from peer.NodeID, m peer.Message) { y.Send(from, m); y.Flush() }
	})
	w.meet(x, y)
	until(b, "connected", func() bool { return x.status(y).Connected && y.status(x).Connected })
	b.ReportAllocs()
	b.ResetTimer()
	cpu := processCPU()
	for range b.N {
		x.send(y, peer.Commit{Key: "/LM/W3SVC/2/ROOT/bpr4mimb2vjnvtn2jc4yp3uo", Transfer: 1})
		<-back
	}
	b.ReportMetric(float64(processCPU()-cpu)/float64(time.Microsecond)/float64(b.N), "cpu-us/op")
}
