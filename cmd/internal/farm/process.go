package farm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 70 * time.Second // longer than drain_timeout
	pollEvery    = 5 * time.Millisecond
)

// Host is where a process runs, if not simply on this machine.
type Host interface {
	Start(cmd *exec.Cmd) error
	Dial(ctx context.Context, addr string) (net.Conn, error) // from there
}

// Addrs are a node's, as its --addr-file tells them. Gossip and Transfer are empty if it runs alone.
type Addrs struct{ Node, State, Gossip, Transfer, Status string }

// NodeOptions describe a node.
type NodeOptions struct {
	Exe  string // Required: the statemesh binary
	Dir  string // Required: an existing folder of its own
	Name string // Required
	// Listen are where it shall listen. Default: the usual ports of an IP address of its own.
	Listen  Addrs
	KeyFile string   // Default: it runs alone
	Join    []string // seeds
	Flags   []string // more, which come last
	Host    Host     // Default: this machine
}

// Node is a node that may run.
type Node struct {
	NodeOptions
	Addrs // valid after Start

	*process // the present one, or the last
	logs     []*Log
	client   http.Client
}

// NewNode makes a node that does not run yet.
func NewNode(o NodeOptions) *Node {
	if o.Listen == (Addrs{}) {
		o.Listen = freeAddrs()
	}
	n := &Node{NodeOptions: o}
	n.client.Transport = &http.Transport{
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return n.Dial(ctx, addr) },
		DisableKeepAlives: true,
	}
	return n
}

var addresses atomic.Uint32

// freeAddrs are the usual ports of an address of the loopback network that nobody else uses: it is made from the process id.
func freeAddrs() Addrs {
	pid, i := os.Getpid(), addresses.Add(1)
	ip := fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&63+64*int(i/250%2), pid&255, 1+i%250)
	at := func(port string) string { return net.JoinHostPort(ip, port) }
	return Addrs{State: at("42424"), Gossip: at("42425"), Transfer: at("42426"), Status: at("42480")}
}

// Dial connects to the node, or to anything, from where it runs.
func (n *Node) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if n.Host != nil {
		return n.Host.Dial(ctx, addr)
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	return d.DialContext(ctx, "tcp", addr)
}

// args are those of serve.
func (n *Node) args(addrFile string) []string {
	args := []string{"serve", "--node-name", n.Name, "--state-addr", n.Listen.State, "--status-addr", n.Listen.Status,
		"--addr-file", addrFile, "--log-format", "json", "--log-level", "debug"}
	if n.KeyFile != "" {
		args = append(args, "--gossip-addr", n.Listen.Gossip, "--transfer-addr", n.Listen.Transfer, "--key-file", n.KeyFile)
	}
	for _, seed := range n.Join {
		args = append(args, "--join", seed)
	}
	return append(args, n.Flags...)
}

// Start starts the node and returns when it serves web servers. It may be called again when the node has ended.
func (n *Node) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	file := filepath.Join(n.Dir, "addrs.json")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	start := (*exec.Cmd).Start
	if n.Host != nil {
		start = func(cmd *exec.Cmd) error { return n.Host.Start(cmd) }
	}
	p, err := launch(exec.Command(n.Exe, n.args(file)...), start)
	if err != nil {
		return err
	}
	n.process = p
	n.logs = append(n.logs, p.log)
	err = p.poll(ctx, "address file", func() bool {
		text, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(text, &n.Addrs) == nil && n.State != ""
	})
	if err != nil {
		p.Kill()
		return fmt.Errorf("start %s: %w\n%s", n.Name, err, p.Log())
	}
	return nil
}

// Started reports whether the node has ever been started.
func (n *Node) Started() bool { return n.process != nil }

// Logs are those of all its processes, in order.
func (n *Node) Logs() []*Log { return n.logs }

// Get asks the status address.
func (n *Node) Get(ctx context.Context, path string) (status int, body []byte, err error) {
	return n.request(ctx, http.MethodGet, path)
}

// Post does too.
func (n *Node) Post(ctx context.Context, path string) (status int, body []byte, err error) {
	return n.request(ctx, http.MethodPost, path)
}

func (n *Node) request(ctx context.Context, method, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.Status+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// Ready reports whether the node says that it is.
func (n *Node) Ready(ctx context.Context) bool {
	status, _, err := n.Get(ctx, "/readyz")
	return err == nil && status == http.StatusOK
}

// Poll asks done again and again until it is true. The error says what was waited for; it comes early if the node ends.
func (n *Node) Poll(ctx context.Context, what string, done func() bool) error {
	if err := n.poll(ctx, what, done); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// process is a child that does not outlive this process.
type process struct {
	cmd    *exec.Cmd
	log    *Log
	exited chan struct{}
}

func launch(cmd *exec.Cmd, start func(*exec.Cmd) error) (*process, error) {
	p := &process{cmd: cmd, log: newLog(), exited: make(chan struct{})}
	cmd.Stderr = p.log
	cmd.SysProcAttr = childAttr()
	if err := start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() { // ends with the process
		defer close(p.exited)
		cmd.Wait()
		p.log.close()
	}()
	return p, nil
}

// Log is what the process has written.
func (p *process) Log() *Log { return p.log }

// PID is the process id.
func (p *process) PID() int { return p.cmd.Process.Pid }

// Running reports whether the process has not ended.
func (p *process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Kill ends the process without its knowing, and returns when it has gone.
func (p *process) Kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// Terminate asks the process to end.
func (p *process) Terminate() error { return terminate(p.cmd.Process) }

// Pause stops the process in its tracks until Resume.
func (p *process) Pause() error { return pause(p.cmd.Process) }

// Resume lets it go on.
func (p *process) Resume() error { return resume(p.cmd.Process) }

// HangUp has the process read its key file again.
func (p *process) HangUp() error { return hangUp(p.cmd.Process) }

// Wait waits until the process ends, and returns its exit status.
func (p *process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the process to end: %w", ctx.Err())
	}
}

// Stop asks the process to end, waits until it does, and returns its exit status. One that does not is killed.
func (p *process) Stop(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := p.Terminate(); err != nil && p.Running() {
		p.Kill()
		return 0, err
	}
	status, err := p.Wait(ctx)
	if err != nil {
		p.Kill()
	}
	return status, err
}

var errEnded = errors.New("the process has ended")

func (p *process) poll(ctx context.Context, what string, done func() bool) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !done() {
		select {
		case <-p.exited:
			return fmt.Errorf("no %s: %w with status %d", what, errEnded, p.cmd.ProcessState.ExitCode())
		case <-ctx.Done():
			return fmt.Errorf("no %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}
