package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUsage is what errors.Is finds in an error about what the bench was asked to do, as opposed to what happened when it did it.
var ErrUsage = errors.New("usage")

// usageError is an ErrUsage that says what is wrong, and nothing else.
type usageError string

func (e usageError) Error() string        { return string(e) }
func (e usageError) Is(target error) bool { return target == ErrUsage }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

const (
	// answerTimeout is ASP.NET's stateNetworkTimeout: a web server gives up after it.
	answerTimeout = 10 * time.Second
	dialTimeout   = 5 * time.Second
	redialPause   = 100 * time.Millisecond
	// defaultApp is the application id of IIS's default site.
	defaultApp = "/LM/W3SVC/1/ROOT"
	// pollPause is how long a page waits that meets another's lock. (ASP.NET waits 500 ms, which would leave the service idle.)
	pollPause = time.Millisecond
	// aspnetPollPause is what ASP.NET waits, for the second of a pair of requests, which is about what its user notices.
	aspnetPollPause = 500 * time.Millisecond
)

// FarmOptions say what a farm does.
type FarmOptions struct {
	Addrs    []string      // Required: the service's nodes. Connections are spread over them.
	Conns    int           // Required.
	Sessions int           // Required, unless Mix is Create. At least one a connection, unless they are Shared.
	Size     Size          // Required: of bodies, in bytes, at least 16
	Mix      Mix           // Default RW
	Minutes  int           // until an unused session expires. Default 20
	App      string        // the web application's AppDomainAppId. Default /LM/W3SVC/1/ROOT
	Seed     uint64        // decides ids and bodies: farms that share a service need different ones
	Spread   Spread        // how users move between the nodes. Default Sticky
	Think    time.Duration // between the requests of a page that has a lock
	Shared   bool          // any connection may ask for any session, and waits for those that others have locked
	Rate     float64       // pages a second, whatever the service makes of them. Default 0: as many as it can take
	Depth    int           // Sets in flight on a connection in Fill. Default 1: as web servers do; only ours is known to like more

	// canned: the service is the floor, whose bodies are all that of session 0 and whose cookies are all the same.
	canned bool
}

// validate puts the defaults in and names what cannot be as it is, by the flags of statemesh bench.
func (o *FarmOptions) validate() error {
	o.Minutes = cmp.Or(o.Minutes, 20)
	o.App = cmp.Or(o.App, defaultApp)
	o.Depth = cmp.Or(o.Depth, 1)
	o.Spread = cmp.Or(o.Spread, Sticky)
	switch {
	case len(o.Addrs) == 0:
		return usagef("no address")
	case o.Conns < 1 || o.Conns > 60000:
		return usagef("--conns: %d is not in 1 to 60000", o.Conns)
	case o.Sessions < 1 && o.Mix != Create || o.Sessions > 1<<30:
		return usagef("--sessions: %d is not in 1 to %d", o.Sessions, 1<<30)
	case o.Sessions < o.Conns && o.Mix != Create && !o.Shared:
		return usagef("--sessions: %d are too few for %d connections with sessions of their own", o.Sessions, o.Conns)
	case o.Size.Min < headerLen || o.Size.Max < o.Size.Min || o.Size.Max > maxResponseBody:
		return usagef("--size: %v is not in %d to %d", o.Size, headerLen, maxResponseBody)
	case o.Minutes < 1 || o.Minutes > 525600:
		return usagef("--timeout: %d is not in 1 to 525600 minutes", o.Minutes)
	case len(o.App) > 1000:
		return usagef("--app: longer than 1000 bytes")
	case o.Rate < 0:
		return usagef("--rate: %v is negative", o.Rate)
	case o.Think < 0:
		return usagef("--think: %v is negative", o.Think)
	case o.Shared && (o.Spread == Alternate || o.Mix == Pair):
		return usagef("--shared does not go together with --spread %s or --mix %s", Alternate, Pair)
	case o.Depth < 1:
		return usagef("depth: %d is not positive", o.Depth)
	}
	return nil
}

// Farm is a web farm.
type Farm struct {
	o      FarmOptions
	conns  []*conn
	ledger []entry
	at     []uint8 // with Alternate: the node of each session's last page
	faults faultLog
	start  time.Time

	stop atomic.Bool // ends the Run under way after the pages in flight
}

// NewFarm makes a farm. It opens no connection.
func NewFarm(o FarmOptions) (*Farm, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	f := &Farm{o: o, ledger: make([]entry, o.Sessions), start: time.Now()}
	if o.Spread == Alternate {
		f.at = make([]uint8, o.Sessions)
	}
	for i := range o.Conns {
		c := f.newConn(i)
		if o.Shared {
			c.pollPause = pollPause
		}
		if o.Mix == Pair {
			c.second = f.newConn(i)
			c.second.pollPause = aspnetPollPause
		}
		f.conns = append(f.conns, c)
	}
	return f, nil
}

// newConn makes the i-th connection, or its second.
func (f *Farm) newConn(i int) *conn {
	o := &f.o
	first, end := o.Sessions*i/o.Conns, o.Sessions*(i+1)/o.Conns
	c := &conn{
		f:        f,
		index:    i,
		first:    uint32(first),
		sessions: uint32(end - first),
		random:   rand.New(rand.NewPCG(o.Seed, uint64(i))),
		requests: newRequests(o.App, o.Size.Max),
		pages:    newHistogram(),
		trips:    newHistogram(),
		waits:    newHistogram(),
	}
	nodes := 1
	if o.Spread != Sticky {
		nodes = len(o.Addrs)
	}
	for k := range nodes {
		c.links = append(c.links, &link{node: o.Addrs[(i+k)%len(o.Addrs)], in: make([]byte, o.Size.Max+4096)})
	}
	c.link = c.links[0]
	return c
}

// clock is the time since the farm was made. (Cheaper than time.Now, which reads two clocks.)
func (f *Farm) clock() time.Duration { return time.Since(f.start) }

// Dial connects.
func (f *Farm) Dial(ctx context.Context) error {
	for c := range f.everyLink {
		if err := c.dial(ctx); err != nil {
			return fmt.Errorf("cannot reach a state service at %s: %w\nIs it running? Ours starts with: statemesh serve; Microsoft's with: net start aspnet_state", c.node, rootOf(err))
		}
	}
	return nil
}

// rootOf strips what net wraps around an error: the address again, and the name of the system call.
func rootOf(err error) error {
	var op *net.OpError
	for errors.As(err, &op) {
		err = op.Err
	}
	return err
}

// Close closes the connections.
func (f *Farm) Close() {
	for c := range f.everyLink {
		c.close()
	}
}

// Run asks for pages until duration has passed after warmup, or ctx ends, and returns what was measured after warmup. It may be
// called again.
func (f *Farm) Run(ctx context.Context, warmup, duration time.Duration, p *Progress) *Result {
	f.stop.Store(false)
	unhook := context.AfterFunc(ctx, f.interrupt)
	begin := f.clock() + warmup
	end := begin + duration
	cpu := newCPUMeter(selfPID)
	done := p.watch(func() string { return f.progress(begin, end) })
	f.each(func(c *conn) error {
		c.run(begin, end)
		return nil
	})
	done()
	if !unhook() {
		end = min(end, f.clock())
	}
	r := f.result(end - begin)
	r.ClientBusy = cpu.busy()
	return r
}

// interrupt ends a Run: pages in flight have a second left.
func (f *Farm) interrupt() {
	f.stop.Store(true)
	for c := range f.everyLink {
		c.hurry()
	}
}

// everyLink ranges over all connections.
func (f *Farm) everyLink(yield func(*link) bool) {
	for _, c := range f.conns {
		for ; c != nil; c = c.second {
			for _, l := range c.links {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// each runs do for all connections at once and returns the first error.
func (f *Farm) each(do func(c *conn) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(f.conns))
	for i, c := range f.conns {
		wg.Go(func() { errs[i] = do(c) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// done is the number of pages or, while filling, of sessions.
func (f *Farm) done() (n uint64) {
	for _, c := range f.conns {
		n += c.done.Load()
	}
	return n
}

// Resize makes bodies stored from now on of another size. BodyBytes is right again once all have been rewritten.
func (f *Farm) Resize(size Size) {
	f.o.Size = size
	for _, c := range f.conns {
		for ; c != nil; c = c.second {
			c.requests = newRequests(f.o.App, size.Max)
		}
	}
}

// BodyBytes is the sum of the lengths of the bodies last stored by Fill, Rewrite and Run.
func (f *Farm) BodyBytes() (sum int64) {
	for s := range f.ledger {
		if v := f.ledger[s].version.Load(); v > 0 {
			sum += int64(f.o.Size.of(f.o.Seed, uint32(s), v))
		}
	}
	return sum
}
