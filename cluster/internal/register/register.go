// Package register says what web servers may be told of one session: the rules of the state server, for porcupine, which judges whether a history
// of operations could have happened on a single server that does one thing at a time. It serves the tests of clusters, simulated and whole.
package register

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Input and Output are an operation on one session, as a web server sees it.
//
// A verb is GET, GETX (which locks), PUT, INS (a PUT that only creates), REL (gives the lock back), DEL or HEAD (which only keeps the session alive). Two
// are not web servers': LOST, the only copy went down with its node; AWAY and BACK, what a node has cannot be seen while others take it for
// dead. A result is "ok", "404", "locked", or "?" if the web server never learnt whether it happened.
type Input struct {
	Verb   string
	Cookie int32
	Value  int64
}

// Output is what the web server was told.
type Output struct {
	Result string
	Cookie int32
	Value  int64
}

// Forever is when an operation returned that nobody has heard of since.
const Forever = math.MaxInt64

// state is a session, as it should be if there were but one server and one request at a time.
type state struct {
	register
	away register // what a stopped node has, while others take it for dead
}

type register struct {
	exists bool
	value  int64
	locked bool
	cookie int32
}

// Model is the rules. An operation of unknown result has its effect if it can; put last, it has none that shows.
var Model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, i, o any) (bool, any) { return s.(state).step(i.(Input), o.(Output)) },
	DescribeOperation: func(i, o any) string {
		return fmt.Sprintf("%v -> %v", i, o)
	},
	DescribeState: func(s any) string { return fmt.Sprintf("%+v", s) },
}

func (s state) step(in Input, out Output) (bool, state) {
	switch in.Verb {
	case "LOST": // the only copy went down with a node
		return true, state{}
	case "AWAY":
		if s.exists {
			s.away, s.register = s.register, register{}
		}
		return true, s
	case "BACK": // unless another was created meanwhile
		if !s.exists {
			s.register = s.away
		}
		s.away = register{}
		return true, s
	}
	ok := s.allows(in, out)
	if out.Result == "ok" || out.Result == "?" && s.possible(in) {
		s.register = s.after(in)
	}
	return ok, s
}

// allows says whether the session can answer so.
func (s state) allows(in Input, out Output) bool {
	switch out.Result {
	case "?":
		return true
	case "404":
		return !s.exists && in.Verb != "PUT" && in.Verb != "INS"
	case "locked":
		return s.exists && s.locked && s.cookie == out.Cookie && (in.Verb == "GET" || in.Verb == "GETX" || s.cookie != in.Cookie)
	}
	switch in.Verb {
	case "GET":
		return s.possible(in) && s.value == out.Value
	case "GETX":
		return s.possible(in) && s.value == out.Value && s.cookie+1 == out.Cookie
	}
	return s.possible(in)
}

// possible says whether the operation can succeed.
func (s state) possible(in Input) bool {
	switch in.Verb {
	case "GET", "GETX":
		return s.exists && !s.locked
	case "HEAD":
		return s.exists
	case "INS":
		return true
	case "PUT":
		return !s.exists || !s.locked || s.cookie == in.Cookie
	}
	return s.exists && (!s.locked || s.cookie == in.Cookie) // REL, DEL
}

func (s state) after(in Input) register {
	r := s.register
	switch in.Verb {
	case "GETX":
		r.locked = true
		r.cookie++
	case "INS":
		if !r.exists {
			r = register{exists: true, value: in.Value, cookie: 1}
		}
	case "PUT":
		if !r.exists {
			r = register{exists: true, cookie: 1}
		}
		r.value, r.locked = in.Value, false
	case "REL":
		r.locked = false
	case "DEL":
		r = register{}
	}
	return r
}

func (in Input) String() string {
	s := in.Verb
	if in.Cookie != 0 {
		s += fmt.Sprintf(" cookie %d", in.Cookie)
	}
	if in.Value != 0 {
		s += fmt.Sprintf(" value %d", in.Value)
	}
	return s
}

func (o Output) String() string {
	s := o.Result
	if o.Cookie != 0 {
		s += fmt.Sprintf(" cookie %d", o.Cookie)
	}
	if o.Value != 0 {
		s += fmt.Sprintf(" value %d", o.Value)
	}
	return s
}

// FirstBad writes the shortest beginning of a history that cannot be explained.
func FirstBad(out io.Writer, history []porcupine.Operation) {
	h := slices.Clone(history)
	slices.SortStableFunc(h, func(a, b porcupine.Operation) int { return int(min(max(a.Return-b.Return, -1), 1)) })
	bad := func(n int) bool {
		end := h[n-1].Return
		var begun []porcupine.Operation
		for i, o := range h {
			if i >= n {
				if o.Call > end {
					continue
				}
				o.Output, o.Return = Output{Result: "?"}, Forever
			}
			begun = append(begun, o)
		}
		return porcupine.CheckOperationsTimeout(Model, begun, 5*time.Second) == porcupine.Illegal
	}
	for n := 1; n <= len(h); n++ {
		if !bad(n) {
			continue
		}
		fmt.Fprintf(out, "the shortest bad beginning has %d of %d operations; its end:\n", n, len(h))
		for _, o := range h[max(0, n-15):n] {
			fmt.Fprintf(out, "  %9.4f to %9.4f  c%-2d %v -> %v\n", seconds(o.Call), seconds(o.Return), o.ClientId, o.Input, o.Output)
		}
		for _, o := range h[n:] {
			if o.Call <= h[n-1].Return {
				fmt.Fprintf(out, "  %9.4f and going on     c%-2d %v\n", seconds(o.Call), o.ClientId, o.Input)
			}
		}
		return
	}
}

func seconds(ns int64) float64 { return time.Duration(ns).Seconds() }
