package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// Fill stores every session once.
func (f *Farm) Fill(ctx context.Context, p *Progress) error {
	if f.o.Mix == Create {
		return nil
	}
	return f.Rewrite(ctx, p, nil)
}

// Rewrite stores every session's next version, in no particular order. minutes, if not nil, says how long a session may be unused
// before it expires; else that is what the farm's options say.
func (f *Farm) Rewrite(ctx context.Context, p *Progress, minutes func(session uint32) int) error {
	return f.bulk(ctx, p, "storing", func(c *conn) error {
		todo := c.own()
		c.random.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
		return c.bulk(ctx, todo, func(session uint32) []byte {
			c.f.ledger[session].version.Add(1)
			window := f.o.Minutes
			if minutes != nil {
				window = minutes(session)
			}
			return c.setRequest(session, window, 0)
		})
	})
}

// Empty removes every session, those that pages have created too.
func (f *Farm) Empty(ctx context.Context, p *Progress) error {
	return f.bulk(ctx, p, "removing", func(c *conn) error {
		todo := c.own()
		if f.o.Mix == Create {
			todo = nil
			for i := range c.created {
				todo = append(todo, c.newSession(i))
			}
			c.created = 0
		}
		return c.bulk(ctx, todo, func(session uint32) []byte {
			return c.removeOf(c.identify(session), 0)
		})
	})
}

// Check reads sessions of a farm of the same seed and size whose Fill was the last to write them, one in so many, and returns the first fault.
func (f *Farm) Check(ctx context.Context, p *Progress, oneIn uint32) error {
	for s := range f.ledger {
		f.ledger[s].version.Store(1)
	}
	return f.bulk(ctx, p, "reading", func(c *conn) error {
		for _, session := range c.own() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if session%oneIn != 0 {
				continue
			}
			if err := c.readPage(session); err != nil {
				return err
			}
			c.done.Add(1)
		}
		return nil
	})
}

// own lists the connection's sessions.
func (c *conn) own() []uint32 {
	sessions := make([]uint32, c.sessions)
	for i := range sessions {
		sessions[i] = c.first + uint32(i)
	}
	return sessions
}

// bulk runs do for each connection and shows how far they are.
func (f *Farm) bulk(ctx context.Context, p *Progress, doing string, do func(c *conn) error) error {
	f.stop.Store(false)
	unhook := context.AfterFunc(ctx, f.interrupt)
	defer unhook()
	for _, c := range f.conns {
		c.done.Store(0)
	}
	done := p.watch(func() string {
		return fmt.Sprintf("%s sessions: %s", doing, humanize.Comma(int64(f.done())))
	})
	defer done()
	err := f.each(do)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// bulkBytes are sent at once at most, so that neither side waits for the other to read.
const bulkBytes = 64 << 10

// bulk sends one request for each session, farm.Depth at a time, and expects each to be answered 200.
func (c *conn) bulk(ctx context.Context, sessions []uint32, request func(session uint32) []byte) error {
	c.measuring = false
	if c.nc == nil {
		if err := c.dial(ctx); err != nil {
			return err
		}
	}
	var batch []byte
	length := 1 // of an answer: they are all alike
	c.batches = c.f.o.Depth > 1
	defer func() {
		c.batches = false
		wakeAt(c.nc, 1)
	}()
	for len(sessions) > 0 && ctx.Err() == nil {
		batch = batch[:0]
		n := 0
		for n < len(sessions) && n < c.f.o.Depth && len(batch) < bulkBytes {
			batch = append(batch, request(sessions[n])...)
			n++
		}
		c.nc.SetDeadline(time.Now().Add(answerTimeout))
		if _, err := c.nc.Write(batch); err != nil {
			return networkFault("bulk", err)
		}
		c.due = n * length
		for _, session := range sessions[:n] {
			var err error
			if length, err = c.receive(); err != nil {
				return networkFault("bulk", err)
			}
			if c.answer.status != 200 {
				return statusFault("Set or Remove", session, c.answer.status)
			}
		}
		sessions = sessions[n:]
		c.done.Add(uint64(n))
	}
	return nil
}
