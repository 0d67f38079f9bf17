//go:build linux

package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/farm"
)

// Who does not have the key is no member, learns nothing, and does no harm.
func TestStrangers_AreRefusedAndLogged(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Users: 8, Sessions: 5})
	end := users.Start(t.Context())

	dir := t.TempDir()
	key := filepath.Join(dir, "other.key")
	if err := farm.WriteKeys(key, farm.NewKey()); err != nil {
		t.Fatal(err)
	}
	var seeds []string
	for _, n := range c.Nodes {
		seeds = append(seeds, n.Gossip)
	}
	stranger := farm.NewNode(farm.NodeOptions{Exe: binary, Dir: dir, Name: "stranger", KeyFile: key, Join: seeds})
	if err := stranger.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stranger.Kill()

	for _, n := range c.Nodes {
		knock(t, n)
	}
	wait(t, 5*time.Second)
	if members, err := stranger.Members(t.Context()); err != nil || len(members) != 1 {
		t.Errorf("the stranger knows %+v, %v", members, err)
	}
	for _, n := range c.Nodes {
		if strings.Contains(stranger.Log().String(), n.Name) {
			t.Errorf("the stranger has learnt the name of %s:\n%s", n.Name, stranger.Log())
		}
	}
	wantRight(t, "load", end())
	if err := c.Joined(soon(t)); err != nil {
		t.Error(err)
	}
	for _, n := range c.Nodes {
		var warnings []string
		for _, line := range n.Log().Lines() {
			if (line.Level == "warn" || line.Level == "error") && strings.Contains(line.Text, "127.") {
				warnings = append(warnings, line.Text)
			}
		}
		// Gossip and transfer each tell once a minute about an address; strangers came from two.
		if len(warnings) == 0 || len(warnings) > 4 {
			t.Errorf("%s says %d times that strangers came:\n%s", n.Name, len(warnings), strings.Join(warnings, "\n"))
		}
	}
}

// knock tries the doors of a node without its key.
func knock(t *testing.T, n *farm.Node) {
	t.Helper()
	garbage := make([]byte, 1200)
	rand.Read(garbage)
	if udp, err := net.Dial("udp", n.Gossip); err != nil {
		t.Error(err)
	} else {
		for i := range 200 {
			udp.Write(garbage[:1+i*5])
		}
		udp.Close()
	}
	for _, addr := range []string{n.Gossip, n.Transfer} {
		for _, say := range [][]byte{garbage, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")} {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Errorf("%s: %v", addr, err)
				continue
			}
			nc.SetDeadline(time.Now().Add(15 * time.Second))
			nc.Write(say)
			// A TLS alert, seven bytes that say nothing, is all there may be.
			if got := readAll(nc); len(got) > 7 {
				t.Errorf("%s answered a stranger: %d bytes %q", addr, len(got), got[:min(len(got), 64)])
			}
			nc.Close()
		}
	}
	nc, err := tls.Dial("tcp", n.Transfer, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"statemesh/1"}, MinVersion: tls.VersionTLS13})
	if err == nil {
		// A client learns of the refusal of its missing certificate with the first read.
		nc.SetDeadline(time.Now().Add(15 * time.Second))
		got := make([]byte, 1)
		if k, err := nc.Read(got); err == nil {
			t.Errorf("%s spoke to a client without certificate: %q", n.Name, got[:k])
		}
		nc.Close()
	}
}

func readAll(nc net.Conn) (all []byte) {
	buf := make([]byte, 4096)
	for {
		n, err := nc.Read(buf)
		if all = append(all, buf[:n]...); err != nil {
			return all
		}
	}
}

// Thousands of connections that say nothing, or half a ClientHello, cost a node little, and are closed.
func TestStrangers_IdleConnectionsDoNoHarm(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Users: 8, Sessions: 5})
	n := c.Nodes[0]
	before := figures(t, n)
	end := users.Start(t.Context())
	const strangers = 5000
	hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3} // of 508 bytes
	var conns []net.Conn
	defer func() {
		for _, nc := range conns {
			nc.Close()
		}
	}()
	refused := 0
	for i := range strangers {
		nc, err := net.DialTimeout("tcp", n.Transfer, 5*time.Second)
		if err != nil {
			refused++
			continue
		}
		conns = append(conns, nc)
		if i%2 == 0 {
			nc.Write(hello)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, nc := range conns {
		nc.SetReadDeadline(deadline)
		if got := readAll(nc); len(got) > 7 { // at most a TLS alert
			t.Fatalf("a stranger was answered %q", got)
		}
	}
	if time.Now().After(deadline) {
		t.Error("connections that say nothing were kept for 20 s")
	}
	r := end()
	wantRight(t, "load", r)
	t.Logf("of %d strangers %d were not even accepted", strangers, refused)
	if r.TimedOut+r.Closed+r.Refused > 0 {
		t.Errorf("users were harmed: %v", r)
	}
	if err := c.Joined(soon(t)); err != nil {
		t.Error(err)
	}
	if grown := figures(t, n)["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]; grown > 100<<20 {
		t.Errorf("the node has grown by %.0f MB", grown/1e6)
	}
	wantRight(t, "afterwards", users.Visit(soon(t)))
	users.Close()
	clean(t, c, map[string]map[string]float64{n.Name: before, c.Nodes[1].Name: before, c.Nodes[2].Name: before}, []string{"process_open_fds"}, 40)
}
