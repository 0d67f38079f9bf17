//go:build unix && !race

package session_test

import (
	"errors"
	"fmt"
	"testing"

	"statemesh/session"
)

// The system refuses memory, as Windows does when its commit limit is reached.

func TestNoMemory_ForSlabsNewBodiesAreRefusedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.must(f.set("0", text(0, 1000), 20, 0))
	r := f.Get(key("0"))
	if err := f.SpoilHeap(&r); err != nil {
		t.Fatal(err)
	}
	f.Settle(key("0"), &r, true)

	if b, err := f.NewBody(100); !errors.Is(err, session.ErrNoMemory) {
		t.Errorf("a body of another size: got %v, %v, want ErrNoMemory", b, err)
	}
	n := 1
	for ; ; n++ { // there is a slab for these
		b, err := f.NewBody(1000)
		if err != nil {
			if !errors.Is(err, session.ErrNoMemory) {
				t.Errorf("got %v, want ErrNoMemory", err)
			}
			break
		}
		fill(b, text(n, 1000))
		f.Set(key(fmt.Sprint(n)), session.Change{Body: b, Timeout: 20})
	}
	if n != 65 {
		t.Errorf("%d bodies were stored, want a slab full", n)
	}
	for i := range n {
		f.is("get", f.get(fmt.Sprint(i)), answer{Timeout: 20, Body: text(i, 1000)})
		f.must(f.acquire(fmt.Sprint(i)))
		f.must(f.unlock(fmt.Sprint(i), 2))
	}
	f.must(f.remove("0", 0))
	f.must(f.set("0", text(7, 1000), 20, 0)) // in the room of the other
	// An id that does not fit into an entry needs a slot as well.
	f.must(f.remove("1", 0))
	f.is("a session of a long id", f.set(fmt.Sprintf("%0100d", 1), text(1, 1000), 20, 0), answer{Outcome: session.Full})
	f.is("one of a short id", f.set("1", text(1, 1000), 20, 0), done)
}

func TestNoMemory_ForEntriesNewSessionsAreRefusedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(farm, session.Key) error{
		"entries": func(f farm, k session.Key) error { return f.SpoilEntries(k) },
		"index":   func(f farm, k session.Key) error { return f.SpoilIndex(k) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t, session.Options{})
			ids := f.ids(6000, 1) // one shard's
			for _, id := range ids[:10] {
				f.must(f.set(id, "x", 20, 0))
			}
			if err := spoil(f, key(ids[0])); err != nil {
				t.Fatal(err)
			}
			n := 10
			for f.set(ids[n], "x", 20, 0).Outcome != session.Full {
				n++
			}
			f.is("the next", f.set(ids[n], "x", 20, 0), answer{Outcome: session.Full})
			f.is("it", f.get(ids[n]), notFound)
			if got := f.Stats(); got.Refused != 2 || got.Active != int64(n) {
				t.Errorf("got %+v, want %d sessions and 2 refused", got, n)
			}
			if err := f.Check(0); err != nil {
				t.Error(err)
			}
			for _, id := range ids[:n] {
				f.is("get", f.get(id), answer{Timeout: 20, Body: "x"})
			}
			f.must(f.remove(ids[0], 0))
			f.must(f.set(ids[n], "x", 20, 0)) // in the room of the other
			for _, id := range ids[1 : n+1] {
				f.must(f.remove(id, 0))
			}
		})
	}
}

// Once a session has been admitted there is no way for it to be refused: its sender may have forgotten it.
func TestNoMemory_WhatWasAdmittedFindsRoom(t *testing.T) {
	t.Parallel()
	m := join(t, session.Options{})
	ids := m.ids(6000, 1) // one shard's
	for _, id := range ids[:10] {
		m.make(id, 1)
	}
	if err := m.SpoilEntries(key(ids[0])); err != nil {
		t.Fatal(err)
	}
	var records []session.Record
	for n := 10; ; n++ {
		r := m.arrived("came", uint64(n))
		_, ok := m.Admit(whole(ids[n]), r, false)
		r.Body.Release()
		if !ok {
			break
		}
		records = append(records, r)
	}
	if got := m.Stats().Refused; got != 1 {
		t.Errorf("refused: got %d, want 1", got)
	}
	m.is("a new session", m.create(ids[9+len(records)+1], grant(1)), answer{Outcome: session.Full})
	for i := range 5 { // the room that these leave is not needed
		m.must(m.remove(ids[i], 0))
	}
	for i, r := range records {
		m.Own(whole(ids[10+i]), r)
	}
	for i := range records {
		m.is("get", m.get(ids[10+i]), answer{Timeout: 20, Body: "came"})
	}
}
