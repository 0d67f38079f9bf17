package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A seed is tried often at first, as nodes are started together, and then every second for ever: whichever node of a cluster starts last,
	// all have found each other soon after. It costs one refused connection.
	eagerTries = 20
	eagerPause = 250 * time.Millisecond
	seedPause  = time.Second
	lostPause  = 1500 * time.Millisecond
	lostAtOnce = 4 // one is enough to bring two sides together

	// A seed is not down because one connection to it broke: who thinks that he is alone, and is not, says of others' sessions that there are none.
	// Nor does it have to be refused more often, if it was silent for so long.
	surelyTries = 3
	surelyAfter = time.Second

	resolvePause   = 5 * time.Second
	resolveTimeout = 2 * time.Second
)

// Finding is what a node has found out about its cluster.
type Finding int32

const (
	Searching    Finding = iota // nothing yet
	FoundMembers                // there are members, of which this node is now one
	NoSeeds                     // there is nobody to look for: no seeds, or only this node itself
	SeedsDown                   // every seed was tried a few times, and none answered. They are tried on
)

func (f Finding) String() string {
	return [...]string{"searching", "found members", "no seeds", "seeds down"}[f]
}

type finding struct {
	now  atomic.Int32
	once sync.Once
	done chan struct{}
}

func newFinding() *finding { return &finding{done: make(chan struct{})} }

// conclude notes a finding: members are final, anything else counts only if it is the first.
func (f *finding) conclude(what Finding) {
	if what == FoundMembers {
		f.now.Store(int32(what))
	} else {
		f.now.CompareAndSwap(int32(Searching), int32(what))
	}
	f.once.Do(func() { close(f.done) })
}

// Ready is closed when it is clear whether there is a cluster to be found; Found tells. If there is, Events has been told of one member by then.
func (m *Membership) Ready() <-chan struct{} { return m.found.done }

// Found is what is known so far. It may become FoundMembers at any time.
func (m *Membership) Found() Finding { return Finding(m.found.now.Load()) }

// search starts what looks for members: those that seeds name, and those that were lost.
func (m *Membership) search() {
	m.wg.Go(m.rejoinLost)
	m.wg.Go(m.compareNotes)
	m.wg.Go(m.reconcile)
	if len(m.o.Seeds) == 0 {
		m.found.conclude(NoSeeds)
		return
	}
	first := &firstTry{left: len(m.o.Seeds), m: m}
	for _, s := range m.o.Seeds {
		m.wg.Go(func() { m.follow(s, first) })
	}
}

// firstTry collects what became of every seed's first tries.
type firstTry struct {
	m *Membership

	mu     sync.Mutex // guards what follows
	left   int
	others bool // some seed is not this node
}

func (f *firstTry) done(self bool) {
	f.mu.Lock()
	f.left--
	f.others = f.others || !self
	left, others := f.left, f.others
	f.mu.Unlock()
	switch {
	case left > 0 || len(f.m.table.live()) > 0: // which is about to be told
	case others:
		f.m.found.conclude(SeedsDown)
	default:
		f.m.found.conclude(NoSeeds)
	}
}

// follow joins what a seed stands for, until this node stops.
func (m *Membership) follow(seed string, first *firstTry) {
	s := seedAddrs{name: seed, m: m}
	began, told := time.Now(), false
	for try := 0; ; try++ {
		addrs, self, err := s.resolve(m.look)
		if err != nil {
			m.say.seed(seed, err)
		}
		live := m.table.live()
		var wg sync.WaitGroup
		for _, a := range addrs {
			if !live[a] && !m.table.leaving(a) {
				wg.Go(func() {
					err := m.join(a)
					// One that is just starting answers with nothing at all.
					if err != nil && m.look.Err() == nil && (try > 0 || !errors.Is(err, errNobody)) {
						m.say.seed(seed, err)
					}
				})
			}
		}
		wg.Wait()
		if m.look.Err() != nil {
			return
		}
		self = self && len(addrs) == 0
		if !told && (self || try+1 >= surelyTries || time.Since(began) >= surelyAfter) {
			told = true
			first.done(self)
		}
		pause := seedPause
		if try < eagerTries {
			pause = eagerPause
		}
		if !sleep(m.look, jitter(pause)) {
			return
		}
	}
}

// seedAddrs are a seed's, resolved again now and then.
type seedAddrs struct {
	name  string
	m     *Membership
	addrs []netip.AddrPort
	self  bool
	err   error
	again time.Time
}

// resolve finds all addresses of a seed but this node's own; self tells whether that was among them.
func (s *seedAddrs) resolve(ctx context.Context) (addrs []netip.AddrPort, self bool, err error) {
	if time.Now().Before(s.again) {
		return s.addrs, s.self, s.err
	}
	host, port := splitSeed(s.name)
	if port == "" {
		port = DefaultPort
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		s.again = time.Now().Add(remembered)
		s.err = fmt.Errorf("%q is no port", port)
		return nil, false, s.err
	}
	var ips []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = []netip.Addr{ip}
	} else {
		timeout, cancel := context.WithTimeout(ctx, resolveTimeout)
		ips, s.err = s.m.o.Resolve(timeout, host)
		cancel()
		s.again = time.Now().Add(resolvePause)
		if s.err != nil {
			s.again = time.Now().Add(jitter(seedPause))
			return s.addrs, s.self, s.err // what it was before, if it was anything, is worth a try
		}
	}
	s.addrs, s.self = nil, false
	for _, ip := range ips {
		a := netip.AddrPortFrom(ip.Unmap(), uint16(number))
		if s.m.isSelf(a) {
			s.self = true
			continue
		}
		s.addrs = append(s.addrs, a)
	}
	return s.addrs, s.self, nil
}

// isSelf tells whether an address is this node's: that which others are told, or any of the machine's with the port it listens on.
func (m *Membership) isSelf(a netip.AddrPort) bool {
	if a == m.self {
		return true
	}
	if m.o.Transport != nil || a.Port() != m.self.Port() {
		return false
	}
	listen, err := netip.ParseAddrPort(m.o.Listen)
	if err != nil || !listen.Addr().IsUnspecified() {
		return err == nil && listen.Addr().Unmap() == a.Addr()
	}
	own, _ := net.InterfaceAddrs()
	for _, o := range own {
		if n, ok := o.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a.Addr() {
				return true
			}
		}
	}
	return false
}

// errNobody is a join that was answered and brought nobody: it was refused there, or here, and the reason has been logged.
var errNobody = errors.New("it answered, and is no member of this cluster: one of the two refused the other")

// join compares notes with whoever is at an address, which makes both members of one cluster.
func (m *Membership) join(a netip.AddrPort) error {
	if _, err := m.list.Join([]string{a.String()}); err != nil {
		if several, ok := errors.AsType[interface {
			error
			WrappedErrors() []error
		}](err); ok && len(several.WrappedErrors()) == 1 {
			err = several.WrappedErrors()[0] // in one line
		}
		return err
	}
	if !m.table.live()[a] {
		return errNobody
	}
	return nil
}

// rejoinLost tries those that failed, at their addresses, in case it was not they who failed but the network.
func (m *Membership) rejoinLost() {
	pause := lostPause
	for sleep(m.look, jitter(pause)) {
		pause = lostPause
		lost := m.table.lost()
		rand.Shuffle(len(lost), func(i, j int) { lost[i], lost[j] = lost[j], lost[i] })
		var wg sync.WaitGroup
		var answered atomic.Bool
		for _, a := range lost[:min(len(lost), lostAtOnce)] {
			wg.Go(func() {
				// Comparing notes once tells each side that the other takes it for dead; with the protest that follows, it is alive again. If the
				// packet with the protest is lost, comparing notes again brings it.
				if err := m.join(a); err == nil || errors.Is(err, errNobody) {
					answered.Store(true)
				}
			})
		}
		wg.Wait()
		if answered.Load() {
			pause = eagerPause
		}
	}
}

// settle has notes compared soon.
func (m *Membership) settle() {
	select {
	case m.settled <- struct{}{}:
	default:
	}
}

// Reconcile has notes compared with a member that is known to have others, at once and in the background.
func (m *Membership) Reconcile(id string) {
	select {
	case m.differs <- id:
	default: // with another already: one at a time, as that may have brought what was missing
	}
}

// reconcile does it, while notes are compared at leisure elsewhere.
func (m *Membership) reconcile() {
	for {
		select {
		case id := <-m.differs:
			if a, ok := m.table.addr(id); ok {
				_ = m.join(a) // if it fails, probing finds out why
			}
		case <-m.look.Done():
			return
		}
	}
}

// compareNotes talks to a random member, twice, after something has changed: the packets that carry news are few, and may be lost.
func (m *Membership) compareNotes() {
	for {
		select {
		case <-m.settled:
		case <-m.look.Done():
			return
		}
		for range 2 {
			live := m.table.live()
			// Many members do it at different times: the first ones spread the news for the others.
			if !sleep(m.look, jitter(400*time.Millisecond+time.Duration(len(live))*10*time.Millisecond)) {
				return
			}
			for a := range live { // in random order, near enough
				_ = m.join(a) // if it fails, probing finds out why
				break
			}
		}
	}
}

// jitter makes a time a quarter longer or shorter, at random.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
