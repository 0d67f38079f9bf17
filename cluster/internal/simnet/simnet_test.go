package simnet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

const addrB = "10.0.0.2:42426"

// pair connects two machines.
func pair(t *testing.T, n *Net) (a, b net.Conn) {
	t.Helper()
	l, err := n.Host("10.0.0.2").Listen("tcp", addrB)
	if err != nil {
		t.Fatal(err)
	}
	a, err = n.Host("10.0.0.1").Dial(t.Context(), "tcp", addrB)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, f)
}

func TestConn_IsANetConn(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b := pair(t, New(1))
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}

func TestConn_IsOrderedAndLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(1)
		n.Faults(Faults{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Stall: .3, StallFor: time.Second})
		start := time.Now()
		a, b := pair(t, n)
		if took := time.Since(start); took < 40*time.Millisecond {
			t.Errorf("connected after %v, before a round trip", took)
		}
		var want []byte
		for i := range 100 {
			a.Write([]byte{byte(i)})
			want = append(want, byte(i))
		}
		a.Close()
		start = time.Now()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %v, %v", got, err)
		}
		if took := time.Since(start); took < time.Second || took > 2*time.Second {
			t.Errorf("took %v, want one stall and not one for each", took)
		}
	})
}

func TestCut_StallsAndHealGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(1)
		a, b := pair(t, n)
		n.CutOneWay("10.0.0.1", "10.0.0.2")
		a.Write([]byte("held"))
		b.Write([]byte("open"))
		read(t, a, "open")
		b.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read over a cut: %v, want a timeout", err)
		}
		b.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Hour, n.Heal)
		read(t, b, "held")
	})
}

func TestWrite_WaitsForTheReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pair(t, New(1))
		a.SetWriteDeadline(time.Now().Add(time.Second))
		wrote, err := a.Write(make([]byte, 10*window))
		if wrote != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v, want the window, and a timeout", wrote, err)
		}
		if b.Close(); true {
			a.SetWriteDeadline(time.Time{})
			if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("write to a closed end: %v", err)
			}
		}
	})
}

func TestKill_ResetsAndRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(1)
		b := n.Host("10.0.0.2")
		l, _ := b.Listen("tcp", addrB)
		a := n.Host("10.0.0.1")
		accepted, _ := a.Dial(t.Context(), "tcp", addrB)
		l.Accept()
		waiting, _ := a.Dial(t.Context(), "tcp", addrB)
		time.AfterFunc(time.Second, b.Kill)
		for name, c := range map[string]net.Conn{"accepted": accepted, "waiting": waiting} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s connection: %v, want a reset", name, err)
			}
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		if _, err := a.Dial(t.Context(), "tcp", addrB); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v, want refused", err)
		}
		if _, err := b.Listen("tcp", addrB); err == nil {
			t.Error("a dead process listens")
		}
		if _, err := n.Host("10.0.0.2").Listen("tcp", addrB); err != nil {
			t.Errorf("restarted: %v", err)
		}
	})
}

func TestPowerOff_IsSilent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(1)
		b := n.Host("10.0.0.2")
		l, _ := b.Listen("tcp", addrB)
		a := n.Host("10.0.0.1")
		c, _ := a.Dial(t.Context(), "tcp", addrB)
		l.Accept()
		b.PowerOff()
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v, want silence", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := a.Dial(ctx, "tcp", addrB)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("dial: %v, want a timeout", err)
		}
		c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { n.Host("10.0.0.2") })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after its start: %v, want a reset", err)
		}
	})
}

func TestReset_BreaksBothEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(1)
		a, b := pair(t, n)
		n.Faults(Faults{Reset: 1})
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestDial_TriesAgainAsTCPDoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(1)
		n.Host("10.0.0.2").Listen("tcp", addrB)
		n.CutOneWay("10.0.0.2", "10.0.0.1")
		start := time.Now()
		time.AfterFunc(2500*time.Millisecond, n.Heal)
		if _, err := n.Host("10.0.0.1").Dial(t.Context(), "tcp", addrB); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestGossip_LosesDoublesAndDrops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(7)
		a, err := n.Host("10.0.0.1").Gossip("10.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.Host("10.0.0.2").Gossip("0.0.0.0:42425")
		if err != nil {
			t.Fatal(err)
		}
		arrived := func(sent int) int {
			for range sent {
				a.WriteTo([]byte("x"), b.Addr())
			}
			time.Sleep(time.Second)
			for got := 0; ; got++ {
				select {
				case <-b.PacketCh():
				default:
					return got
				}
			}
		}
		for _, c := range []struct {
			name     string
			faults   Faults
			sent     int
			min, max int
		}{
			{"perfect", Faults{}, 500, 500, 500},
			{"lossy", Faults{Loss: .2, Delay: time.Millisecond}, 500, 350, 450},
			{"doubling", Faults{Duplicate: .2, Jitter: time.Millisecond}, 500, 550, 650},
			{"flooded", Faults{}, 3 * unread, unread, unread},
		} {
			n.Faults(c.faults)
			if got := arrived(c.sent); got < c.min || got > c.max {
				t.Errorf("%s: %d of %d arrived, want %d to %d", c.name, got, c.sent, c.min, c.max)
			}
		}
		n.Faults(Faults{Delay: time.Second})
		a.WriteTo([]byte("x"), b.Addr())
		n.Cut("10.0.0.1", "10.0.0.2")
		if got := arrived(1); got != 0 {
			t.Error("a packet came through a cut")
		}
	})
}

func TestPause_HoldsAndResumeDelivers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(1)
		a, b := pair(t, n)
		g, _ := n.Host("10.0.0.1").Gossip("10.0.0.1:42425")
		to, _ := n.Host("10.0.0.2").Gossip("10.0.0.2:42425")
		n.Pause("10.0.0.2")
		start := time.Now()
		time.AfterFunc(10*time.Second, func() { n.Resume("10.0.0.2") })
		g.WriteTo([]byte("packet"), to.Addr())
		a.Write([]byte("stream"))
		read(t, b, "stream")
		if p := <-to.PacketCh(); string(p.Buf) != "packet" || time.Since(start) != 10*time.Second {
			t.Errorf("got %q after %v", p.Buf, time.Since(start))
		}
	})
}

func TestTLS_WorksInABubble(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := New(1)
		n.Faults(Faults{Delay: 5 * time.Millisecond})
		a, b := pair(t, n)
		cert := certificate(t)
		pool := x509.NewCertPool()
		pool.AddCert(cert.Leaf)
		client := tls.Client(a, &tls.Config{RootCAs: pool, ServerName: "b"})
		server := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}})
		go func() {
			io.Copy(server, server)
			server.Close()
		}()
		for range 10 {
			client.Write([]byte("hello"))
			read(t, client, "hello")
		}
		client.CloseWrite()
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("end: %v", err)
		}
		client.Close()
	})
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"b"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}
}
