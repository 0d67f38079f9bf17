//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"statemesh/cmd/internal/farm"
)

// The cluster changes its key under load, one node after the other, as docs/security.md says: nobody notices, and the old key is worth
// nothing afterwards.
func TestKeys_RotateUnderLoad(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Users: 16, Sessions: 5, Shared: 2})
	end := users.Start(t.Context())
	after := farm.NewKey()
	read := 0
	reload := func(what string, wanted string, keys ...string) {
		t.Helper()
		if err := farm.WriteKeys(c.KeyFile, keys...); err != nil {
			t.Fatal(err)
		}
		read++
		for _, n := range c.Nodes {
			if err := n.HangUp(); err != nil {
				t.Fatal(err)
			}
			if err := n.Poll(soon(t), what, func() bool { return len(n.Log().Find(wanted)) >= read }); err != nil {
				t.Fatal(err)
			}
			wait(t, 200*time.Millisecond) // while the others have not read it
		}
		if err := c.Joined(soon(t)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	first, err := farm.ReadKeys(c.KeyFile)
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	before := first[0]
	reload("both keys", "keys read again", before, after)
	reload("the new one first", "keys read again", after, before)
	reload("the new one only", "keys read again", after)
	read = 0
	reload("a key that is none: all stays as it is", "the keys stay as they are", "not a key")
	if err := farm.WriteKeys(c.KeyFile, after); err != nil {
		t.Fatal(err)
	}
	wantRight(t, "load", end())

	// A node that comes with the old key is a stranger; one with the new key, in place of one that leaves, is not.
	dir := t.TempDir()
	if err := farm.WriteKeys(dir+"/old.key", before); err != nil {
		t.Fatal(err)
	}
	late := farm.NewNode(farm.NodeOptions{Exe: binary, Dir: dir, Name: "late", KeyFile: dir + "/old.key", Join: []string{c.Nodes[0].Gossip}})
	if err := late.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer late.Kill()
	if _, err := c.Nodes[0].Log().Await(soon(t), "refused a stranger"); err != nil {
		t.Errorf("the old key was not refused: %v", err)
	}
	n := c.Nodes[2]
	if status, err := n.Stop(soon(t)); status != 0 || err != nil {
		t.Fatalf("%s ended with status %d, %v", n.Name, status, err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Joined(soon(t)); err != nil {
		t.Error(err)
	}
	wantRight(t, "afterwards", users.Visit(soon(t)))
	for _, n := range append(c.Nodes, late) {
		for _, key := range []string{before, after} {
			for _, log := range n.Logs() {
				if found := log.Find(key[:12]); len(found) > 0 {
					t.Errorf("%s has a key in its log: %s", n.Name, fmt.Sprint(found))
				}
			}
		}
	}
}
