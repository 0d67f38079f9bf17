//go:build linux

package tunnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// network has two hosts.
func network(t *testing.T) (n *Net, a, b *Host) {
	t.Helper()
	n, err := New(7)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	for ip, h := range map[string]**Host{"10.77.0.1": &a, "10.77.0.2": &b} {
		if *h, err = n.Host(ip); err != nil {
			t.Fatal(err)
		}
	}
	return n, a, b
}

// echo serves it on a host until the test ends.
func echo(t *testing.T, h *Host) (addr string) {
	t.Helper()
	l, err := h.Listen("tcp", h.IP()+":0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.SetDeadline(time.Now().Add(20 * time.Second))
			io.Copy(nc, nc)
			nc.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func dial(t *testing.T, h *Host, addr string) net.Conn {
	t.Helper()
	nc, err := h.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return nc
}

func TestNet_CarriesStreamsWhole(t *testing.T) {
	defer goleak.VerifyNone(t)
	for name, f := range map[string]Faults{
		"good": {},
		"bad":  {Loss: .05, Dup: .05, Delay: time.Millisecond, Jitter: 3 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			n, a, b := network(t)
			n.Faults(f)
			nc := dial(t, a, echo(t, b))
			sent := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
			go nc.Write(sent)
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("the stream did not come back as it was: %v", err)
			}
			stats := n.Stats()
			if lost := stats.Lost + stats.Doubled; (lost > 0) != (f.Loss > 0) || stats.Carried < 100 {
				t.Errorf("%+v", stats)
			}
		})
	}
}

func TestNet_Delays(t *testing.T) {
	n, a, b := network(t)
	addr := echo(t, b)
	n.Faults(Faults{Delay: 30 * time.Millisecond})
	nc := dial(t, a, addr)
	began := time.Now()
	nc.Write([]byte("x"))
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("there and back took %v, want at least 60ms", took)
	}
}

// numbers has a send datagrams with the numbers to n, and returns those that b gets.
func numbers(t *testing.T, a, b *Host, n uint32) (got []uint32) {
	t.Helper()
	from, err := a.ListenPacket("udp4", a.IP()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := b.ListenPacket("udp4", b.IP()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range n {
			from.WriteTo(binary.BigEndian.AppendUint32(nil, i), to.LocalAddr())
		}
	}()
	<-sent
	buf := make([]byte, 4)
	for {
		to.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, _, err := to.ReadFrom(buf); err != nil {
			return got
		}
		got = append(got, binary.BigEndian.Uint32(buf))
	}
}

func TestNet_LosesAsManyAsItIsTold(t *testing.T) {
	n, a, b := network(t)
	n.Faults(Faults{Loss: .3, Dup: .1})
	const sent = 200
	got := numbers(t, a, b, sent)
	if len(got) < sent/2 || len(got) > sent*95/100 {
		t.Errorf("%d of %d arrived, want about %d", len(got), sent, sent*77/100)
	}
}

func TestNet_CutsOneWayAndHeals(t *testing.T) {
	n, a, b := network(t)
	n.CutOneWay(a, b)
	if got := numbers(t, a, b, 5); len(got) != 0 {
		t.Errorf("%v arrived where it was cut", got)
	}
	if got := numbers(t, b, a, 5); len(got) != 5 {
		t.Errorf("%v arrived the other way, want all 5", got)
	}
	n.Heal()
	if got := numbers(t, a, b, 5); len(got) != 5 {
		t.Errorf("%v arrived after it was healed, want all 5", got)
	}
	if n.Stats().Cut < 5 {
		t.Errorf("%+v, want 5 cut", n.Stats())
	}
}

func TestHost_IsAPlaceOfItsOwn(t *testing.T) {
	_, a, b := network(t)
	// The loopback interface is the host's own.
	l, err := a.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial(t, a, l.Addr().String())
	if _, err := b.Dial(t.Context(), l.Addr().String()); err == nil {
		t.Error("another host reached it")
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("this machine reached it")
	}
	// So is what runs there.
	var out bytes.Buffer
	cmd := exec.Command("cat", "/proc/self/net/dev")
	cmd.Stdout = &out
	if err := a.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !bytes.Contains(out.Bytes(), []byte("tun0")) || bytes.Count(out.Bytes(), []byte("\n")) != 4 {
		t.Errorf("%v, interfaces of a process:\n%s", err, &out)
	}
	// A connection that leads nowhere ends with its context.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Dial(ctx, "10.77.0.99:1"); err == nil {
		t.Error("a host that is not there was reached")
	}
}

func TestNet_HostNeedsAnAddress(t *testing.T) {
	n, _, _ := network(t)
	for _, ip := range []string{"", "192.168.0.1", "fe80::1", "x"} {
		if _, err := n.Host(ip); err == nil {
			t.Errorf("%q: no error", ip)
		}
	}
}
