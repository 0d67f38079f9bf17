package handoff_test

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// input and output are an operation on one session, as a web server sees it. A result is "ok", "404", "locked", or "?" if the web server
// never learnt whether it happened.
type input struct {
	verb   string
	cookie int32
	value  int64
}

type output struct {
	result string
	cookie int32
	value  int64
}

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

// model is the rules of the state server. An operation of unknown result has its effect if it can; put last, it has none that shows.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, i, o any) (bool, any) { return s.(state).step(i.(input), o.(output)) },
	DescribeOperation: func(i, o any) string {
		return fmt.Sprintf("%v -> %v", i, o)
	},
	DescribeState: func(s any) string { return fmt.Sprintf("%+v", s) },
}

func (s state) step(in input, out output) (bool, state) {
	switch in.verb {
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
	if out.result == "ok" || out.result == "?" && s.possible(in) {
		s.register = s.after(in)
	}
	return ok, s
}

// allows says whether the session can answer so.
func (s state) allows(in input, out output) bool {
	switch out.result {
	case "?":
		return true
	case "404":
		return !s.exists && in.verb != "PUT" && in.verb != "INS"
	case "locked":
		return s.exists && s.locked && s.cookie == out.cookie && (in.verb == "GET" || in.verb == "GETX" || s.cookie != in.cookie)
	}
	switch in.verb {
	case "GET":
		return s.possible(in) && s.value == out.value
	case "GETX":
		return s.possible(in) && s.value == out.value && s.cookie+1 == out.cookie
	}
	return s.possible(in)
}

// possible says whether the operation can succeed.
func (s state) possible(in input) bool {
	switch in.verb {
	case "GET", "GETX":
		return s.exists && !s.locked
	case "HEAD":
		return s.exists
	case "INS":
		return true
	case "PUT":
		return !s.exists || !s.locked || s.cookie == in.cookie
	}
	return s.exists && (!s.locked || s.cookie == in.cookie) // REL, DEL
}

func (s state) after(in input) register {
	r := s.register
	switch in.verb {
	case "GETX":
		r.locked = true
		r.cookie++
	case "INS":
		if !r.exists {
			r = register{exists: true, value: in.value, cookie: 1}
		}
	case "PUT":
		if !r.exists {
			r = register{exists: true, cookie: 1}
		}
		r.value, r.locked = in.value, false
	case "REL":
		r.locked = false
	case "DEL":
		r = register{}
	}
	return r
}

func (in input) String() string {
	s := in.verb
	if in.cookie != 0 {
		s += fmt.Sprintf(" cookie %d", in.cookie)
	}
	if in.value != 0 {
		s += fmt.Sprintf(" value %d", in.value)
	}
	return s
}

func (o output) String() string {
	s := o.result
	if o.cookie != 0 {
		s += fmt.Sprintf(" cookie %d", o.cookie)
	}
	if o.value != 0 {
		s += fmt.Sprintf(" value %d", o.value)
	}
	return s
}

// firstBad writes the shortest beginning of a history that cannot be explained.
func firstBad(out io.Writer, history []porcupine.Operation) {
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
				o.Output, o.Return = output{result: "?"}, forever
			}
			begun = append(begun, o)
		}
		return porcupine.CheckOperationsTimeout(model, begun, 5*time.Second) == porcupine.Illegal
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
