package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// growthFigures are what it costs to find a session, by the number of members. They come from the simulator of cluster/handoff, which runs
// the rules that production runs, and in which a message takes half a millisecond and nothing else takes any time.
type growthFigures []growthPoint

type growthPoint struct {
	Members             int
	Fetch, Miss, Create expense
}

type expense struct {
	Messages, Bytes float64
	P50             time.Duration
}

// growth has the simulator write them down.
func growth(ctx context.Context, _ *lab) (figures, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "benchreport")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "growth.json")
	cmd := exec.CommandContext(ctx, "go", "test", "./cluster/handoff", "-run", "TestGrowth", "-count=1", "-growth", file)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var f growthFigures
	err = json.Unmarshal(text, &f)
	return f, err
}

func (f growthFigures) section() section {
	s := section{
		how: "What it costs to find a session among more and more members, in the simulator: keys of 90 bytes; a session's body comes on top, once. A message takes 0.5 ms\n" +
			"there, and nothing else takes any time.",
		command: "go test ./cluster/handoff -run TestGrowth -v\n    go run ./cmd/benchreport -only cluster-growth",
	}
	linear, flat := len(f) > 0, len(f) > 0
	var b strings.Builder
	b.WriteString("| members | fetch: messages | bytes | p50 | miss or creation: messages | bytes | p50 |\n|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, p := range f {
		asked := float64(2 * (p.Members - 1))
		linear = linear && p.Fetch.Messages == asked+3 && p.Miss.Messages == asked && p.Create.Messages == asked
		flat = flat && p.Fetch.P50 == f[0].Fetch.P50 && p.Miss.P50 == f[0].Miss.P50
		fmt.Fprintf(&b, "| %d | %.0f | %.0f | %v | %.0f | %.0f | %v |\n",
			p.Members, p.Fetch.Messages, p.Fetch.Bytes, p.Fetch.P50, p.Miss.Messages, max(p.Miss.Bytes, p.Create.Bytes), max(p.Miss.P50, p.Create.P50))
	}
	s.rows = []row{
		{"growth of messages with n members", "named", "linear: 2(n-1), and 3 to hand over", linear},
		{"growth of the time that messages take", "named", "none: 2 round trips for a fetch, 1 for a miss or creation", flat},
	}
	thousand := 0.0 // bytes of a miss among so many
	if len(f) > 0 {
		last := f[len(f)-1]
		thousand = last.Miss.Bytes / float64(last.Members-1) * 999
	}
	s.details = b.String() + `
Everybody is asked, and everybody answers; the holder's answer is the push, and acknowledgement, commit and confirmation are the 3. What the simulator leaves out is the work
for each message: "A session that is nowhere", above, has it for 3 and 9 members that share two processors.

On paper, at 1,000: 1,998 messages and ` + fmt.Sprintf("%.2f", thousand/1e6) + ` MB for each miss and each new user. That is too much, and so is what each node does besides: 999 connections to
others and 999 from them, each probed every second, and 999 reports every two seconds. What would have to change: a directory (the member that rendezvous hashing names for a key
knows who holds it), which makes the 1,998 messages 2, however many members there are, and changes nothing in the handing over; connections that are
dialed when there is something to be said; and reports to who looks at the page, not to all. Gossip stays as it is: memberlist is used at that size.`
	return s
}
