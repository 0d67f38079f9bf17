package tunnet

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	mtu = 1500
	// queued packets to a host, at most: as of a router, what comes on top is lost.
	maxQueued = 4096
)

// Able tells what is missing on this machine for a network, or nil.
func Able() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root, for network namespaces")
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("it needs TUN devices: %w", err)
	}
	f.Close()
	return nil
}

// Host is a machine on the network: a namespace, with a thread that is in it.
type Host struct {
	net  *Net
	ip   netip.Addr
	tun  *os.File
	work chan func() // for the thread
	gone chan struct{}

	mu    sync.Mutex // guards what follows
	queue packets
	more  chan struct{} // of one: something has been queued
}

func newHost(n *Net, ip netip.Addr) (*Host, error) {
	h := &Host{net: n, ip: ip, work: make(chan func()), gone: make(chan struct{}), more: make(chan struct{}, 1)}
	made := make(chan error)
	n.wg.Go(func() { h.thread(made) })
	if err := <-made; err != nil {
		return nil, err
	}
	return h, nil
}

// thread makes the namespace and works in it. It is never unlocked from its thread, which so ends with it: no other goroutine is to
// find itself in this namespace. Children live only as long as the thread that started them (Pdeathsig).
func (h *Host) thread(made chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = h.setUp()
	}
	made <- err
	if err != nil {
		return
	}
	for {
		select {
		case f := <-h.work:
			f()
		case <-h.gone:
			return
		}
	}
}

// setUp gives the namespace a loopback interface and a TUN device with the host's address.
func (h *Host) setUp() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w", err)
	}
	const name = "tun0"
	req := newIfreq(name)
	binary.NativeEndian.PutUint16(req[unix.IFNAMSIZ:], unix.IFF_TUN|unix.IFF_NO_PI)
	if err := ioctl(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	h.tun = os.NewFile(uintptr(fd), "tun "+h.ip.String()) // non-blocking, so that Close ends a Read
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	steps := []struct {
		what string
		nr   uint
		req  *ifreq
	}{
		{"lo up", unix.SIOCSIFFLAGS, withFlags("lo", unix.IFF_UP|unix.IFF_RUNNING)},
		{"address", unix.SIOCSIFADDR, withAddr(name, h.ip)},
		{"netmask", unix.SIOCSIFNETMASK, withAddr(name, netip.AddrFrom4([4]byte{255, 0, 0, 0}))},
		{"mtu", unix.SIOCSIFMTU, withInt(name, mtu)},
		{"up", unix.SIOCSIFFLAGS, withFlags(name, unix.IFF_UP|unix.IFF_RUNNING)},
	}
	for _, step := range steps {
		if err := ioctl(s, step.nr, step.req); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// ifreq is struct ifreq: a name, then a union.
type ifreq [40]byte

func newIfreq(name string) *ifreq {
	r := new(ifreq)
	copy(r[:unix.IFNAMSIZ-1], name)
	return r
}

func withFlags(name string, flags uint16) *ifreq {
	r := newIfreq(name)
	binary.NativeEndian.PutUint16(r[unix.IFNAMSIZ:], flags)
	return r
}

func withInt(name string, v uint32) *ifreq {
	r := newIfreq(name)
	binary.NativeEndian.PutUint32(r[unix.IFNAMSIZ:], v)
	return r
}

// withAddr has a struct sockaddr_in: 2B family | 2B port | 4B address.
func withAddr(name string, addr netip.Addr) *ifreq {
	r := newIfreq(name)
	binary.NativeEndian.PutUint16(r[unix.IFNAMSIZ:], unix.AF_INET)
	ip := addr.As4()
	copy(r[unix.IFNAMSIZ+4:], ip[:])
	return r
}

func ioctl(fd int, nr uint, req *ifreq) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(nr), uintptr(unsafe.Pointer(req)))
	if errno != 0 {
		return errno
	}
	return nil
}

// IP is the host's address.
func (h *Host) IP() string { return h.ip.String() }

var errGone = errors.New("the host is gone")

// Do runs f on the host's thread: sockets that f opens and processes that it starts are on this host.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	select {
	case h.work <- func() { done <- f() }:
		return <-done
	case <-h.gone:
		return errGone
	}
}

// Start starts a process on this host. It is killed with the host.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// Dial connects from this host, to a literal address.
func (h *Host) Dial(ctx context.Context, addr string) (nc net.Conn, err error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	// The thread only makes the socket, and does not wait for the connection: it has others to serve.
	var fd int
	err = h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	f := os.NewFile(uintptr(fd), addr)
	defer f.Close()
	if err == unix.EINPROGRESS {
		if err := connected(ctx, f); err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
	return net.FileConn(f) // of a duplicate
}

// connected waits for a connection under way.
func connected(ctx context.Context, f *os.File) error {
	deadline, ok := ctx.Deadline()
	if limit := time.Now().Add(5 * time.Second); !ok || limit.Before(deadline) {
		deadline = limit
	}
	if err := f.SetWriteDeadline(deadline); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = err
		case code != 0:
			result = os.NewSyscallError("connect", unix.Errno(code))
		default:
			if _, err := unix.Getpeername(int(fd)); err != nil {
				return false // not yet
			}
		}
		return true
	})
	return errors.Join(err, result)
}

// Listen listens on this host.
func (h *Host) Listen(network, addr string) (l net.Listener, err error) {
	err = h.Do(func() error {
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// ListenPacket does so for packets.
func (h *Host) ListenPacket(network, addr string) (c net.PacketConn, err error) {
	err = h.Do(func() error {
		c, err = net.ListenPacket(network, addr)
		return err
	})
	return c, err
}

func (h *Host) close() error {
	close(h.gone)
	return h.tun.Close()
}

// readPackets carries what the host sends.
func (h *Host) readPackets() {
	buf := make([]byte, mtu+100)
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			return // closed
		}
		h.net.carry(h, buf[:n])
	}
}

// deliver queues a packet for the host until it is due.
func (h *Host) deliver(packet []byte, due time.Time) {
	h.mu.Lock()
	if len(h.queue) >= maxQueued {
		h.mu.Unlock()
		h.net.lost.Add(1)
		return
	}
	heap.Push(&h.queue, queued{due, bytes.Clone(packet)})
	h.mu.Unlock()
	select {
	case h.more <- struct{}{}:
	default:
	}
}

// writePackets gives the host what is due.
func (h *Host) writePackets() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		h.mu.Lock()
		var packet []byte
		wait := time.Hour
		if len(h.queue) > 0 {
			if wait = time.Until(h.queue[0].due); wait <= 0 {
				packet = heap.Pop(&h.queue).(queued).packet
			}
		}
		h.mu.Unlock()
		if packet != nil {
			h.tun.Write(packet) // one that does not fit is lost, as on any network
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-h.more:
		case <-h.gone:
			return
		}
	}
}

type queued struct {
	due    time.Time
	packet []byte
}

// packets is a heap, the one due next first.
type packets []queued

func (p packets) Len() int           { return len(p) }
func (p packets) Less(i, j int) bool { return p[i].due.Before(p[j].due) }
func (p packets) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)        { *p = append(*p, x.(queued)) }
func (p *packets) Pop() any {
	old := *p
	x := old[len(old)-1]
	old[len(old)-1] = queued{}
	*p = old[:len(old)-1]
	return x
}
