package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/cluster/internal/simnet"
	"statemesh/wire/peer"
)

func connected(a, b *node) func() bool { return func() bool { return a.status(b).Connected } }

func TestSend_ToNobody(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.accepter("b")
		a.Send("stranger", push(1, 10))
		if lost := a.loses(); lost.to != "stranger" || lost.p.Transfer != 1 || lost.p.Key != push(1, 10).Key {
			t.Errorf("%+v", lost)
		}
		b.l.Close()
		a.Connect(b.id)
		time.Sleep(time.Minute)
		for size := range []int{10, smallBody + 1} {
			p := push(2, size)
			a.Send(b.id, p)
			if lost := a.loses(); lost.to != b.id || lost.p.Transfer != 2 {
				t.Errorf("%+v", lost)
			}
			if p.Record.Body.(*source).holds() != 0 {
				t.Error("still held")
			}
		}
		if lines := strings.Count(a.log.text(), "cannot reach peer"); lines < 1 || lines > 3 {
			t.Errorf("%d lines in a minute:\n%s", lines, a.log.text())
		}
	})
}

func TestSend_WaitsForTheFirstConnection(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		a.Connect(b.id)
		a.send(b, push(1, 10), push(2, smallBody+1), peer.Known{Version: 3})
		for range 3 {
			b.hears()
		}
		a.nothing()
	})
}

func TestSend_WhatWaitsForADialThatFailsIsLost(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		w.net.Cut(a.host.IP(), b.host.IP())
		a.Connect(b.id)
		small, large := push(1, 10), push(2, smallBody+1)
		a.send(b, small, large, large, large, peer.Known{Version: 3})
		times := map[uint64]int{}
		for range 4 {
			times[a.loses().p.Transfer]++
		}
		// As often as it was sent, though it waited only once.
		if want := map[uint64]int{1: 1, 2: 3}; !reflect.DeepEqual(times, want) {
			t.Errorf("lost %v, want %v", times, want)
		}
		if n := large.Record.Body.(*source).holds(); n != 0 {
			t.Errorf("held %d times", n)
		}
		w.net.Heal()
		until(t, "connected", connected(a, b))
		a.send(b, small)
		if got := b.hears(); got.m.(peer.Push).Transfer != 1 {
			t.Errorf("got %v", got)
		}
		a.nothing()
	})
}

func TestSend_RefusesABodyThatIsNotWhatItSays(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a", func(o *Options) { o.MaxBody = 100_000 }), w.node("b")
		w.meet(a, b)
		until(t, "connected", connected(a, b))
		for i, p := range []peer.Push{push(0, 10), push(1, 10), push(2, smallBody+1), push(3, 100_001), push(4, 10)} {
			switch i {
			case 0:
				p.Record.Size = 9
			case 1, 2:
				p.Record.Body = nil
			case 4:
				p.Key = ""
			}
			a.send(b, p)
			if lost := a.loses(); lost.p.Transfer != p.Transfer {
				t.Errorf("%+v", lost)
			}
		}
		b.nothing()
	})
}

func TestSend_NeverWaitsAndKeepsBounds(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a", func(o *Options) { o.MaxQueue, o.MaxBulk = 1<<20, 3<<20 }), w.accepter("b")
		a.Connect(b.id)
		f, _ := b.greet() // and never reads anything
		until(t, "connected", func() bool { return a.Peers()[0].Connected })
		began := time.Now()
		small, bulk := push(1, 1000), push(9, 1<<20)
		for i := range 10_000 {
			a.Send(b.id, small)
			if i < 10 {
				bulk.Transfer++
				a.Send(b.id, bulk)
			}
		}
		a.Flush()
		if took := time.Since(began); took != 0 {
			t.Errorf("sending took %v", took)
		}
		if s := a.Peers()[0]; s.Queued > 5<<20 || s.Dropped < 8000 {
			t.Errorf("%d bytes in line, %d messages dropped", s.Queued, s.Dropped)
		}
		if n := bulk.Record.Body.(*source).holds(); n > 4 {
			t.Errorf("held %d times", n)
		}
		// A peer that does not read is given up, and so is what waited for it.
		until(t, "given up", func() bool { return !a.Peers()[0].Connected })
		if took := time.Since(began); took > 5100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		f.ended("a connection that nobody reads from")
		b.l.Close()
		time.Sleep(10 * time.Second)
		if s := a.Peers()[0]; s.Connected || s.Queued > 0 || s.LastError == "" {
			t.Errorf("%+v", s)
		}
		if n := bulk.Record.Body.(*source).holds(); n != 0 {
			t.Errorf("held %d times", n)
		}
	})
}

func TestFlush_ManyMessagesGoInOneWrite(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		var writes atomic.Int64
		a := w.node("a", func(o *Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				c, err := dial(ctx, addr)
				return countingConn{c, &writes}, err
			}
		})
		b := w.node("b")
		a.Connect(b.id)
		until(t, "connected", connected(a, b))
		synctest.Wait()
		before := writes.Load()
		for i := range 500 {
			a.Send(b.id, peer.Known{Version: uint64(i)})
		}
		synctest.Wait()
		if n := writes.Load() - before; n != 0 {
			t.Errorf("%d writes before Flush", n)
		}
		a.Flush()
		for i := range 500 {
			if got := b.hears(); got.m != (peer.Known{Version: uint64(i)}) {
				t.Fatalf("got %v, want %d", got.m, i)
			}
		}
		if n := writes.Load() - before; n != 1 {
			t.Errorf("%d writes", n)
		}
	})
}

// What the sockets do not take is left to the lane, in its order, and nobody who sends waits for it.
func TestFlush_DoesNotWaitForANodeThatIsSlow(t *testing.T) {
	t.Parallel()
	w := newTown(t, nil, true)
	goOn := make(chan struct{})
	a := w.node("a", func(o *Options) { o.MaxQueue = 64 << 20 })
	b := w.node("b", func(o *Options) {
		receive := o.Receive
		o.Receive = func(from peer.NodeID, m peer.Message) {
			<-goOn
			receive(from, m)
		}
	})
	w.meet(a, b)
	until(t, "connected", connected(a, b))
	const size = 15 << 10
	message := push(1, size)
	var n uint64
	for a.status(b).Queued < 1<<20 { // until all buffers on the way are full, and then some
		if n++; n > 4000 {
			t.Fatal("where does it all go?")
		}
		message.Transfer = n
		a.send(b, message)
	}
	close(goOn)
	for i := range n {
		got, ok := b.hears().m.(peer.Push)
		if !ok || got.Transfer != i+1 || got.Record.Size != size {
			t.Fatalf("got %v, want %d", got, i+1)
		}
	}
	if s := a.status(b); s.Dropped != 0 || s.LastError != "" {
		t.Errorf("%+v", s)
	}
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestBulk_DelaysNothing(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a := w.node("a")
		hold := make(chan struct{})
		b := w.node("b", func(o *Options) {
			newBody := o.NewBody
			o.NewBody = func(n int) (Body, error) {
				if n > smallBody {
					<-hold // its connection is not read
				}
				return newBody(n)
			}
		})
		a.Connect(b.id)
		large := push(1, 5_000_000)
		a.send(b, large, large, large, peer.Known{Version: 1}, push(2, 100))
		if got := b.hears(); got.m != (peer.Known{Version: 1}) {
			t.Errorf("got %v", got)
		}
		if got := b.hears(); got.m.(peer.Push).Transfer != 2 {
			t.Errorf("got %v", got)
		}
		close(hold)
		if got := b.hears(); got.m.(peer.Push).Transfer != 1 {
			t.Errorf("got %v", got)
		}
		time.Sleep(10 * time.Second)
		b.nothing() // sent three times, and on its way once
		a.nothing()
		if n := large.Record.Body.(*source).holds(); n != 0 {
			t.Errorf("held %d times", n)
		}
	})
}

func TestBulk_ConnectionIsThereWhenNeeded(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		a.Connect(b.id)
		open := func() bool {
			b.Transport.mu.Lock()
			defer b.Transport.mu.Unlock()
			return b.inbound[inboundKey{a.id, peer.Bulk}] != nil
		}
		until(t, "connected", connected(a, b))
		if open() {
			t.Error("open before it is needed")
		}
		for range 2 {
			a.send(b, push(1, smallBody+1))
			b.hears()
			if !open() {
				t.Error("not open")
			}
			time.Sleep(59 * time.Second)
			if !open() {
				t.Error("closed too early")
			}
			time.Sleep(3 * time.Second)
			if open() {
				t.Error("still open")
			}
		}
		if !a.status(b).Connected {
			t.Error("the other connection is gone, too")
		}
		if log := a.log.text(); strings.Contains(log, "[WARN]") {
			t.Error(log)
		}
	})
}

func TestHalfOpen_IsNoticedAndMended(t *testing.T) {
	t.Parallel()
	for _, oneWay := range []bool{false, true} {
		t.Run(fmt.Sprint("one way ", oneWay), func(t *testing.T) {
			t.Parallel()
			inMemory(t, func(t *testing.T, w *town) {
				a, b := w.node("a"), w.node("b")
				w.meet(a, b)
				until(t, "connected", func() bool { return a.status(b).Connected && b.status(a).Connected })
				time.Sleep(10 * time.Second)
				if s := a.status(b); !s.Connected || time.Since(s.Since) < 9*time.Second {
					t.Errorf("an idle connection does not last: %+v", s)
				}
				if oneWay {
					w.net.CutOneWay(b.host.IP(), a.host.IP())
				} else {
					w.net.Cut(a.host.IP(), b.host.IP())
				}
				began := time.Now()
				until(t, "noticed", func() bool { return !a.status(b).Connected })
				if took := time.Since(began); took > 4100*time.Millisecond {
					t.Errorf("noticed after %v", took)
				}
				if s := a.status(b); !strings.Contains(s.LastError, "probe") {
					t.Errorf("%+v", s)
				}
				time.Sleep(20 * time.Second)
				w.net.Heal()
				began = time.Now()
				until(t, "mended", func() bool { return a.status(b).Connected && b.status(a).Connected })
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("mended after %v", took)
				}
				a.send(b, peer.Known{Version: 7})
				if got := b.hears(); got.m != (peer.Known{Version: 7}) {
					t.Errorf("got %v", got)
				}
			})
		})
	}
}

func TestReconnect_ToANodeThatWasRestarted(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		w.meet(a, b)
		until(t, "connected", connected(a, b))
		b.host.Kill()
		b.stop()
		c := w.node("c") // the same machine, say; another run of the node
		addr, _ := w.member(c.id)
		w.move(b.id, addr) // membership is late: a goes on dialing b there
		time.Sleep(5 * time.Second)
		if s := a.status(b); s.Connected || !strings.Contains(s.LastError, "this is "+string(c.id)) {
			t.Errorf("%+v", s)
		}
		a.Forget(b.id)
		a.Connect(c.id)
		until(t, "connected", connected(a, c))
		if n := len(a.Peers()); n != 1 {
			t.Errorf("%d peers", n)
		}
	})
}

func TestForget_EndsEverythingWithANode(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.accepter("b")
		a.Connect(b.id)
		f, _ := b.greet()
		large := push(1, 10_000_000)
		a.Send(b.id, large)
		a.Flush()
		g, _ := b.greet() // which nobody reads from
		time.Sleep(time.Second)
		a.Forget(b.id)
		f.ended("small")
		g.ended("bulk")
		if lost := a.loses(); lost.p.Transfer != 1 { // its end has never been sent
			t.Errorf("%v", lost)
		}
		if n := large.Record.Body.(*source).holds(); n != 0 {
			t.Errorf("held %d times", n)
		}
		a.Send(b.id, push(2, 10))
		if lost := a.loses(); lost.p.Transfer != 2 {
			t.Errorf("%v", lost)
		}
		a.Forget(b.id)
		if n := len(a.Peers()); n != 0 {
			t.Errorf("%d peers", n)
		}
	})
}

func TestReceive_WithoutMemory(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		w.meet(a, b)
		b.mu.Lock()
		b.full = true
		b.mu.Unlock()
		for i, size := range []int{100, 1_000_000} {
			a.send(b, push(uint64(i), size))
			if p := b.hears().m.(peer.Push); p.Record.Size != size || p.Record.Body != nil {
				t.Errorf("%+v", p)
			}
		}
		b.mu.Lock()
		b.full = false
		b.mu.Unlock()
		for i, size := range []int{100, 1_000_000} {
			a.send(b, push(uint64(i), size))
			if p := b.hears().m.(peer.Push); p.Record.Body == nil {
				t.Errorf("%+v", p)
			}
		}
	})
}

func TestReceive_MemoryThatRunsOutHalfWay(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a := w.node("a")
		halves := make(chan *halfBody, 10)
		b := w.node("b", func(o *Options) {
			o.NewBody = func(n int) (Body, error) {
				h := &halfBody{body: body{bytes: make([]byte, n)}}
				halves <- h
				return h, nil
			}
		})
		w.meet(a, b)
		a.send(b, push(1, 60_000), peer.Known{Version: 2})
		if p := b.hears().m.(peer.Push); p.Record.Body != nil || !(<-halves).discarded.Load() {
			t.Errorf("%+v", p)
		}
		if got := b.hears(); got.m != (peer.Known{Version: 2}) {
			t.Errorf("got %v", got)
		}
	})
}

// halfBody finds no memory for its second half.
type halfBody struct{ body }

func (h *halfBody) Next() []byte {
	if h.filled >= len(h.bytes)/2 {
		return nil
	}
	return h.body.Next()
}

func TestReceive_ABodyThatDoesNotComeIsGivenBack(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		b := w.node("b")
		for _, close := range []bool{true, false} {
			f := w.greeted(b, "a-1", peer.Bulk, map[bool]uint64{true: 1, false: 2}[close])
			p := push(1, 100_000)
			p.Record.Body = nil
			f.say(p)
			_, _ = f.Write(make([]byte, 50_000))
			synctest.Wait()
			began := time.Now()
			if close {
				f.Close()
			} else {
				f.ended("a body that does not come")
				if took := time.Since(began); took > 9*time.Second {
					t.Errorf("waited %v", took)
				}
			}
			until(t, "given back", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return len(b.bodies) > 0 && b.bodies[len(b.bodies)-1].discarded.Load()
			})
		}
		b.nothing()
	})
}

func TestSlowNetwork_IsNotTakenForDead(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a := w.node("a")
		b := w.node("b", func(o *Options) {
			receive := o.Receive
			o.Receive = func(from peer.NodeID, m peer.Message) {
				time.Sleep(100 * time.Millisecond) // ten messages of 32 KiB a second
				receive(from, m)
			}
		})
		w.meet(a, b)
		until(t, "connected", connected(a, b))
		for i := range 200 {
			a.Send(b.id, push(uint64(i), 32<<10))
		}
		a.Flush()
		for i := range 200 {
			if got := b.hears().m.(peer.Push); got.Transfer != uint64(i) {
				t.Fatalf("got %d, want %d", got.Transfer, i)
			}
		}
		a.nothing()
	})
}

func TestNetworkWithDelayAndBreaks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, simnet.New(7), true)
		a, b, c := w.node("a"), w.node("b"), w.node("c")
		w.meet(a, b, c)
		w.net.Faults(simnet.Faults{Delay: 20 * time.Millisecond, Reset: 0.02})
		nodes := []*node{a, b, c}
		sent, lost, got := 0, 0, map[string]bool{}
		for i := range 800 {
			from, to := nodes[i%3], nodes[(i+1)%3]
			size := 100
			if i%50 == 0 {
				size = 200_000
			}
			from.send(to, push(uint64(i), size))
			sent++
			time.Sleep(5 * time.Millisecond)
		}
		w.net.Faults(simnet.Faults{Delay: 20 * time.Millisecond})
		time.Sleep(10 * time.Second)
		for _, n := range nodes {
			for len(n.lost) > 0 {
				l := <-n.lost
				got[fmt.Sprint("lost", l.p.Transfer)] = true
				lost++
			}
		}
		for _, n := range nodes {
			for len(n.got) > 0 {
				r := <-n.got
				p := r.m.(peer.Push)
				if !bytes.Equal(p.Record.Body.(*body).bytes, push(p.Transfer, p.Record.Size).Record.Body.(*source).bytes) {
					t.Errorf("session %d is not what was sent", p.Transfer)
				}
				if k := fmt.Sprint("got", p.Transfer); got[k] {
					t.Errorf("session %d came twice", p.Transfer)
				} else {
					got[k] = true
				}
				if got[fmt.Sprint("lost", p.Transfer)] {
					t.Errorf("session %d came, and was reported lost for certain", p.Transfer)
				}
			}
		}
		t.Logf("%d sent, %d certainly lost, %d accounted for", sent, lost, len(got))
		if len(got) < sent/2 {
			t.Errorf("only %d of %d accounted for", len(got), sent)
		}
		for _, n := range nodes {
			for _, s := range n.Peers() {
				if !s.Connected || s.RoundTrip < 40*time.Millisecond || s.RoundTrip > 200*time.Millisecond {
					t.Errorf("%s: %+v", n.id, s)
				}
			}
		}
	})
}

func TestStop_SendsWhatIsInLine(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		w.meet(a, b)
		until(t, "connected", connected(a, b))
		for i := range 200 {
			a.Send(b.id, push(uint64(i), 1000))
		}
		a.Send(b.id, push(200, 100_000))
		a.Flush()
		until(t, "the large one is under way", func() bool {
			l := a.links[b.id].bulk
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.conn != nil
		})
		a.stop()
		seen := map[uint64]bool{}
		for range 201 {
			seen[b.hears().m.(peer.Push).Transfer] = true
		}
		if len(seen) != 201 {
			t.Errorf("%d of 201", len(seen))
		}
		a.Send(b.id, peer.Known{})
		a.Connect("b-2")
		a.Start()
		a.stop() // again
	})
}

func TestStop_DoesNotWaitForANodeThatDoesNotListen(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b, c := w.node("a"), w.accepter("b"), w.node("c")
		a.Connect(b.id)
		b.greet()
		a.Send(b.id, push(1, 10_000_000))
		w.net.Cut(a.host.IP(), c.host.IP())
		a.Connect(c.id)
		a.Send(c.id, push(2, 10))
		a.Flush()
		w.impostor(a, "d-1") // says nothing
		w.greeted(a, "d-2", peer.Small, 1)
		time.Sleep(time.Second)
		began := time.Now()
		a.stop()
		if took := time.Since(began); took > 1100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		began = time.Now()
		if err := c.Stop(ctx); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestStop_WithoutStart(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		l, err := w.net.Host("10.0.3.1").Listen("tcp", ":1")
		if err != nil {
			t.Fatal(err)
		}
		a := w.node("a")
		o := a.o
		o.Listen = l
		tr, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is open: %v", err)
		}
	})
}

func TestNew_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "Self") {
		t.Errorf("%v", err)
	}
}

func TestAccept_FailuresDoNotSpin(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		bad := &brokenListener{}
		a := w.node("a", func(o *Options) {
			bad.Listener = o.Listen
			o.Listen = bad
		})
		time.Sleep(time.Minute)
		if n := bad.accepts.Load(); n < 60 || n > 100 {
			t.Errorf("tried %d times in a minute", n)
		}
		bad.well.Store(true)
		time.Sleep(time.Second)
		w.greeted(a, "b-1", peer.Small, 1)
		if n := strings.Count(a.log.text(), "[ERROR]"); n < 1 || n > 2 {
			t.Errorf("%d lines:\n%s", n, a.log.text())
		}
	})
}

type brokenListener struct {
	net.Listener
	accepts atomic.Int64
	well    atomic.Bool
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.well.Load() {
		return l.Listener.Accept()
	}
	l.accepts.Add(1)
	return nil, errors.New("too many open files")
}

// Everything at once, for the race detector.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	w := newTown(t, nil, true)
	nodes := []*node{w.node("a"), w.node("b"), w.node("c")}
	w.meet(nodes...)
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for j := range 3000 {
				to := nodes[(i+1+j%2)%3]
				n.Send(to.id, push(uint64(j), 500))
				if j%500 == 0 {
					n.Send(to.id, push(uint64(j), 100_000))
				}
				if j%10 == 0 {
					n.Flush()
				}
			}
			n.Flush()
		})
		wg.Go(func() {
			for range 20 {
				n.Peers()
				n.Recheck()
			}
			other := nodes[(i+1)%3]
			n.Forget(other.id)
			n.Connect(other.id)
		})
	}
	wg.Wait()
	for i, n := range nodes {
		to := nodes[(i+1)%3]
		until(t, "connected", connected(n, to))
		n.send(to, peer.Known{Version: 99})
	}
	for _, n := range nodes {
		for n.hears().m != (peer.Known{Version: 99}) {
		}
	}
}

func TestReceive_FromANodeThatReadsNoAnswers(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a := w.node("a")
		f := w.greeted(a, "b-1", peer.Small, 1)
		pings := bytes.Repeat(peer.Append(nil, peer.Ping{N: 1}), 1000)
		began := time.Now()
		for {
			_ = f.SetWriteDeadline(time.Now().Add(20 * time.Second))
			if _, err := f.Write(pings); err != nil {
				break
			}
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestGreeting_VersionsThatShareOne(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		old, young := w.node("old"), w.node("young", func(o *Options) { o.Speaks = peer.Versions{Min: 1, Max: 3} })
		w.meet(old, young)
		old.send(young, peer.Known{Version: 1})
		young.send(old, peer.Known{Version: 2})
		young.hears()
		old.hears()
	})
}

func TestFlush_OfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newTown(t, nil, false)
	a := w.node("a", func(o *Options) { o.PingEvery, o.DeadAfter = time.Hour, time.Hour }) // which would wake it, too
	b := w.node("b")
	a.Connect(b.id)
	until(t, "connected", connected(a, b))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				a.send(b, peer.Known{Version: 1})
			}
		})
	}
	wg.Wait()
	for range 4 * 2000 {
		b.hears()
	}
}
