package service_test

import (
	"io"
	"strings"
	"testing"

	"statemesh/service"
)

// The golden exchanges, however their bytes arrive.

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, c := range conversations(t) {
		for _, dialect := range []struct{ statusLine, prefix string }{{"bare", ""}, {"http/1.1", "HTTP/1.1 "}} {
			node := func(t *testing.T, start starter) *node {
				t.Parallel()
				return start(t, func(o *service.Options) { o.StatusLine = dialect.statusLine })
			}
			name := c.name + "/" + strings.ReplaceAll(dialect.statusLine, "/", "-")
			t.Run(name+"/memory/one connection", func(t *testing.T) {
				w := node(t, newNode).pipe(t)
				for _, e := range c.exchanges {
					e.check(t, w.ask(e.request), dialect.prefix)
				}
			})
			t.Run(name+"/memory/connection each", func(t *testing.T) {
				n := node(t, newNode)
				for _, e := range c.exchanges {
					e.check(t, n.pipe(t).ask(e.request), dialect.prefix)
				}
			})
			t.Run(name+"/socket/one connection", func(t *testing.T) {
				bothWays(t, func(t *testing.T, start starter) {
					w := node(t, start).dial(t)
					for _, e := range c.exchanges {
						e.check(t, w.ask(e.request), dialect.prefix)
					}
				})
			})
			t.Run(name+"/socket/connection each", func(t *testing.T) {
				bothWays(t, func(t *testing.T, start starter) {
					n := node(t, start)
					for _, e := range c.exchanges {
						e.check(t, n.dial(t).ask(e.request), dialect.prefix)
					}
				})
			})
			t.Run(name+"/memory/byte by byte", func(t *testing.T) {
				w := node(t, newNode).pipe(t)
				for _, e := range c.exchanges {
					for i := range len(e.request) {
						w.send(e.request[i : i+1])
					}
					e.check(t, w.receive(), dialect.prefix)
				}
			})
			t.Run(name+"/socket/pipelined", func(t *testing.T) {
				bothWays(t, func(t *testing.T, start starter) {
					w := node(t, start).dial(t)
					pipelined(t, w, c, dialect.prefix)
				})
			})
			t.Run(name+"/memory/pipelined", func(t *testing.T) {
				w := node(t, newNode).pipe(t)
				pipelined(t, w, c, dialect.prefix)
			})
		}
	}
}

// pipelined sends a whole conversation at once.
func pipelined(t *testing.T, w *webServer, c conversation, prefix string) {
	var all strings.Builder
	for _, e := range c.exchanges {
		all.WriteString(e.request)
	}
	sent := make(chan error, 1)
	go func() { // a pipe has no buffer: nobody takes the requests unless somebody takes the answers
		_, err := io.WriteString(w.nc, all.String())
		sent <- err
	}()
	for _, e := range c.exchanges {
		e.check(t, w.receive(), prefix)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// Every request in two parts, cut at every byte there is.
func TestGolden_SplitAnywhere(t *testing.T) {
	t.Parallel()
	for _, c := range conversations(t) {
		if c.name != "captured-page" {
			continue
		}
		longest := 0
		for _, e := range c.exchanges {
			longest = max(longest, len(e.request))
		}
		n := newNode(t)
		for cut := 1; cut < longest; cut++ {
			w := n.pipe(t)
			for _, e := range c.exchanges {
				at := min(cut, len(e.request)-1)
				w.send(e.request[:at])
				w.send(e.request[at:])
				e.check(t, w.receive(), "")
			}
			w.want(200, remove("bpr4mimb2vjnvtn2jc4yp3uo", "0")) // the conversation's session
			w.nc.Close()
		}
		return
	}
	t.Fatal("no such conversation")
}
