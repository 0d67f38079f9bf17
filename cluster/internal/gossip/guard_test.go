package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"statemesh/cluster/internal/simnet"
)

const testLabel = "statemesh/default"

func labelled(rest ...byte) []byte {
	return append(append([]byte{labelType, byte(len(testLabel))}, testLabel...), rest...)
}

// tape is a transport that keeps what is sent.
type tape struct {
	memberlist.NodeAwareTransport
	packet func([]byte)
	stream func([]byte)
}

func (t *tape) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	t.packet(b)
	return t.NodeAwareTransport.WriteToAddress(b, a)
}

func (t *tape) DialAddressTimeout(a memberlist.Address, d time.Duration) (net.Conn, error) {
	c, err := t.NodeAwareTransport.DialAddressTimeout(a, d)
	if err != nil {
		return nil, err
	}
	return &tapedConn{c, t}, nil
}

type tapedConn struct {
	net.Conn
	tape *tape
}

func (c *tapedConn) Write(b []byte) (int, error) {
	c.tape.stream(b)
	return c.Conn.Write(b)
}

// TestGuard_BearsCapturedTraffic records what two members say, and sends it to a third again: as it was, cut off at every byte, and with each byte
// changed, the encryption version to the one that memberlist would still take, and that ends the process.
func TestGuard_BearsCapturedTraffic(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		var packets, streams [][]byte
		var mu sync.Mutex
		record := func(to *[][]byte) func([]byte) {
			return func(b []byte) {
				mu.Lock()
				*to = append(*to, bytes.Clone(b))
				mu.Unlock()
			}
		}
		w.start(0, []string{ip(1)}, func(o *Options) {
			o.Transport = &tape{o.Transport, record(&packets), record(&streams)}
		})
		w.start(1, []string{ip(0)})
		w.within(3*time.Second, "whole", w.whole)
		time.Sleep(time.Second)
		w.all[0].Stop()
		w.nodes = w.nodes[1:]
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock() // nobody records any more
		if len(packets) < 5 || len(streams) < 2 {
			t.Fatalf("recorded %d packets and %d writes", len(packets), len(streams))
		}

		target := w.start(2, []string{ip(1)})
		w.nodes = []*node{w.nodes[0], target}
		w.within(3*time.Second, "whole", w.whole)
		stranger, err := w.net.Host("10.0.0.66").Gossip("10.0.0.66:1")
		if err != nil {
			t.Fatal(err)
		}
		to := target.Addr().String()
		for _, p := range packets[:5] {
			versions := bytes.Clone(p)
			versions[2+len(testLabel)] = 0
			stranger.WriteTo(versions, to)
			for i := range p {
				stranger.WriteTo(p[:i], to)
				changed := bytes.Clone(p)
				changed[i] ^= 1
				stranger.WriteTo(changed, to)
			}
			time.Sleep(10 * time.Millisecond)
		}
		whole := append(bytes.Clone(streams[0]), streams[1]...) // label, then the rest
		send := func(b []byte) {
			c, err := stranger.DialTimeout(to, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			c.Write(b)
			c.(*simnet.Conn).CloseWrite()
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			io.Copy(io.Discard, c)
			c.Close()
		}
		for i := range whole {
			send(whole[:i])
			changed := bytes.Clone(whole)
			changed[i] ^= 1
			send(changed)
		}
		if !w.whole() {
			t.Errorf("it lost somebody: %v", target.view())
		}
		if lines := strings.Count(target.log.String(), "refused a stranger"); lines < 1 || lines > 3 {
			t.Errorf("%d lines about strangers, want about one a minute", lines)
		}
		if s := target.Stats(); s.Refused < 100 {
			t.Errorf("refused %d", s.Refused)
		}
	})
}

func TestGuard_BearsRandomBytes(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		w.cluster(2)
		stranger, err := w.net.Host("10.0.0.66").Gossip("10.0.0.66:1")
		if err != nil {
			t.Fatal(err)
		}
		to := w.nodes[0].Addr().String()
		for i := range 3000 {
			b := make([]byte, rand.N(300))
			for j := range b {
				b[j] = byte(rand.Uint32())
			}
			if i%2 == 0 { // also in the right wrapping
				b = labelled(append([]byte{currentVersion}, b...)...)
			}
			stranger.WriteTo(b, to)
			if c, err := stranger.DialTimeout(to, time.Second); err == nil {
				c.Write(b)
				c.Close()
			}
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		w.stays(5 * time.Second)
		w.nobodyFailed()
	})
}

func TestGuard_LimitsConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		target := w.start(0, nil)
		dial := func(from string, n int) (open int) {
			h := w.net.Host(from)
			for range n {
				c, err := h.Dial(t.Context(), "tcp", target.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
				c.SetReadDeadline(time.Now())
				if c.SetReadDeadline(time.Now().Add(time.Millisecond)); true {
					if _, err := c.Read(make([]byte, 1)); isTimeout(err) {
						open++
					}
				}
			}
			return open
		}
		if open := dial("10.0.0.66", 100); open != maxStreamsPerIP {
			t.Errorf("%d idle connections of one address, want %d", open, maxStreamsPerIP)
		}
		w.start(1, []string{ip(0)}) // another address is served all the same
		w.within(3*time.Second, "whole", w.whole)
		time.Sleep(3 * time.Second)
		if open := dial("10.0.0.66", 100); open != maxStreamsPerIP {
			t.Errorf("%d connections after the first ones timed out, want %d", open, maxStreamsPerIP)
		}
		// With enough addresses strangers can take all places, but those of members.
		time.Sleep(3 * time.Second)
		for i := range maxStreams / maxStreamsPerIP {
			dial(fmt.Sprintf("10.0.1.%d", i+1), maxStreamsPerIP)
		}
		if open := dial("10.0.0.66", 1); open != 0 {
			t.Error("one stranger too many")
		}
		if open := dial(ip(1), 1); open != 1 {
			t.Error("a member is turned away")
		}
	})
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestCheckPacket_KnowsItsOwn(t *testing.T) {
	t.Parallel()
	good := labelled(append([]byte{1}, make([]byte, 40)...)...)
	for name, c := range map[string]struct {
		packet []byte
		want   error
	}{
		"good":           {good, nil},
		"empty":          {nil, errLabel},
		"no label":       {good[2+len(testLabel):], errLabel},
		"label cut off":  {good[:10], errLabel},
		"other label":    {append([]byte{labelType, 3, 'a', 'b', 'c'}, good...), errLabel},
		"nothing inside": {labelled(), errShort},
		"too short":      {labelled(append([]byte{1}, make([]byte, 27)...)...), errShort},
		"old version":    {labelled(append([]byte{0}, make([]byte, 60)...)...), errVersion},
		"plain":          {labelled(append([]byte{4}, make([]byte, 60)...)...), errVersion},
	} {
		if got := checkPacket(c.packet, testLabel, true); !errors.Is(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if err := checkPacket(labelled(4), testLabel, false); err != nil {
		t.Errorf("plain, where that is wanted: %v", err)
	}
}

// FuzzPacket: what passes has our label and the current version.
func FuzzPacket(f *testing.F) {
	f.Add(labelled(append([]byte{1}, make([]byte, 40)...)...))
	f.Add(labelled(append([]byte{0}, make([]byte, 60)...)...))
	f.Add([]byte{labelType})
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkPacket(b, testLabel, true)
		own := bytes.HasPrefix(b, labelled(currentVersion)) && len(b) >= len(labelled())+sealed
		if (err == nil) != own {
			t.Errorf("%x: %v", b, err)
		}
	})
}

// FuzzStream: the same of streams, and no byte is lost or read too far.
func FuzzStream(f *testing.F) {
	f.Add(append(labelled(encryptedType, 0, 0, 0, 40, 1), make([]byte, 39)...), true)
	f.Add(append([]byte{encryptedType, 0, 0, 0, 40, 1}, make([]byte, 39)...), false)
	f.Add(labelled(encryptedType, 255, 255, 255, 255, 1), true)
	f.Fuzz(func(t *testing.T, b []byte, label bool) {
		r := bytes.NewReader(b)
		head, err := readHeader(r, testLabel, label, true)
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		if !bytes.Equal(append(bytes.Clone(head), rest...), b) {
			t.Fatalf("read %x of %x", head, b)
		}
		if label {
			if !bytes.HasPrefix(head, labelled()) {
				t.Fatalf("passed without the label: %x", head)
			}
			head = head[len(labelled()):]
		}
		if n := binary.BigEndian.Uint32(head[1:]); head[0] != encryptedType || n > maxStream || head[5] != currentVersion {
			t.Errorf("passed: %x", head)
		}
	})
}
