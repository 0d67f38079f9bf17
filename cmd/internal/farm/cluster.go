package farm

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Shape says whom the i-th of n nodes has as seeds.
type Shape func(i, n int) []int

// Ring: each knows the next.
func Ring(i, n int) []int { return []int{(i + 1) % n} }

// Star: all know the first.
func Star(i, _ int) []int {
	if i == 0 {
		return nil
	}
	return []int{0}
}

// Stars: every third node is known to the two after it, and knows the first.
func Stars(i, _ int) []int {
	switch {
	case i == 0:
		return nil
	case i%3 == 0:
		return []int{0}
	default:
		return []int{i - i%3}
	}
}

// Everyone knows everyone.
func Everyone(i, n int) (seeds []int) {
	for other := range n {
		if other != i {
			seeds = append(seeds, other)
		}
	}
	return seeds
}

// ClusterOptions describe a cluster.
type ClusterOptions struct {
	Exe   string // Required
	Dir   string // Required: an existing folder
	Nodes int    // Required
	Shape Shape  // Default Everyone
	Flags []string
	// Place, if not nil, changes the i-th node's options before it is made.
	Place func(i int, o *NodeOptions)
	// Alone: the nodes know nothing of each other, and have no key.
	Alone bool
}

// Cluster is nodes with one key.
type Cluster struct {
	Nodes   []*Node
	KeyFile string
}

// NewCluster makes a cluster that does not run yet.
func NewCluster(o ClusterOptions) (*Cluster, error) {
	if o.Shape == nil {
		o.Shape = Everyone
	}
	c := &Cluster{KeyFile: filepath.Join(o.Dir, "cluster.key")}
	if err := WriteKeys(c.KeyFile, NewKey()); err != nil {
		return nil, err
	}
	listen := make([]Addrs, o.Nodes)
	options := make([]NodeOptions, o.Nodes)
	for i := range options {
		name := fmt.Sprintf("web%02d", i+1)
		dir := filepath.Join(o.Dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		options[i] = NodeOptions{Exe: o.Exe, Dir: dir, Name: name, Listen: freeAddrs(), Flags: o.Flags}
		if !o.Alone {
			options[i].KeyFile = c.KeyFile
		}
		if o.Place != nil {
			o.Place(i, &options[i])
		}
		listen[i] = options[i].Listen
	}
	for i := range options {
		if !o.Alone {
			for _, seed := range o.Shape(i, o.Nodes) {
				options[i].Join = append(options[i].Join, listen[seed].Gossip)
			}
		}
		c.Nodes = append(c.Nodes, NewNode(options[i]))
	}
	return c, nil
}

// NewKey makes a key.
func NewKey() string {
	key := make([]byte, 32)
	rand.Read(key)
	return base64.StdEncoding.EncodeToString(key)
}

// ReadKeys reads a key file as WriteKeys makes it.
func ReadKeys(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	return strings.Fields(string(text)), err
}

// WriteKeys makes a key file: the first encrypts, all decrypt.
func WriteKeys(file string, keys ...string) error {
	return os.WriteFile(file, []byte(strings.Join(keys, "\n")+"\n"), 0o600)
}

// Start starts all nodes at once, and returns when they all serve web servers; Joined waits for more.
func (c *Cluster) Start(ctx context.Context) error {
	errs := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() { errs[i] = n.Start(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Joined waits until every node that runs sees every other one as up, is connected to it, and nobody else is.
func (c *Cluster) Joined(ctx context.Context) error {
	want := make(map[string]bool)
	for _, n := range c.Nodes {
		if n.Started() && n.Running() {
			want[n.Name] = true
		}
	}
	for _, n := range c.Nodes {
		if !want[n.Name] {
			continue
		}
		var last string
		err := n.Poll(ctx, "full membership", func() bool {
			members, err := n.Members(ctx)
			if err != nil {
				last = err.Error()
				return false
			}
			last = fmt.Sprintf("%+v", members)
			return whole(members, want)
		})
		if err != nil {
			return fmt.Errorf("%w; last seen: %s", err, last)
		}
	}
	return nil
}

// whole reports whether members are those wanted, and reachable.
func whole(members []Member, want map[string]bool) bool {
	up := make(map[string]bool)
	for _, m := range members {
		if m.State == "failed" || m.State == "left" {
			continue
		}
		if !want[m.Name] || up[m.Name] || m.State != "up" || !m.Self && !m.Connected {
			return false
		}
		up[m.Name] = true
	}
	return len(up) == len(want)
}

// Member is one line of what a node says of its cluster.
type Member struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Self      bool      `json:"self"`
	State     string    `json:"state"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`
	LastError string    `json:"last_error"`
}

// Members asks a node who is there.
func (n *Node) Members(ctx context.Context) ([]Member, error) {
	status, body, err := n.Get(ctx, "/api/v1/members")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("members: status %d: %s", status, body)
	}
	var answer struct{ Members []Member }
	err = json.Unmarshal(body, &answer)
	return answer.Members, err
}

// Kill ends whatever still runs. It is for the end of a test; Node.Stop for ends that are part of it.
func (c *Cluster) Kill() {
	for _, n := range c.Nodes {
		if n.Started() && n.Running() {
			n.Kill()
		}
	}
}
