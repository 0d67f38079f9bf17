//go:build !race && (unix || windows)

package offheap_test

import (
	"runtime/debug"
	"testing"

	"statemesh/session/internal/offheap"
)

// faults tells whether writing to a byte is refused by the system.
func faults(write func()) (refused bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { refused = recover() != nil }()
	write()
	return false
}

func TestTable_WhatLiesFarBeyondItsSizeIsNotUsable(t *testing.T) {
	table, err := offheap.NewTable[uint64](1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if err := table.Resize(1000); err != nil {
		t.Fatal(err)
	}
	if faults(func() { *table.At(999) = 1 }) {
		t.Error("the last element is not usable")
	}
	if !faults(func() { *table.At(1<<20 - 1) = 1 }) {
		t.Error("an element of far beyond is usable: it was to be reserved only")
	}
}

func TestCommit_ALargeSlotIsNotUsableFurtherThanItSays(t *testing.T) {
	h := open(t)
	r, err := h.Alloc(10 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Drop(r)
	ready, err := h.Commit(r, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if faults(func() { h.Bytes(r)[ready-1] = 1 }) {
		t.Errorf("%d bytes are said to be usable and are not", ready)
	}
	if !faults(func() { h.Bytes(r)[ready] = 1 }) {
		t.Errorf("more than %d bytes are usable", ready)
	}
}

func TestClose_EndsAllReservations(t *testing.T) {
	h := offheap.NewHeap()
	small, large := alloc(t, h, 100), alloc(t, h, 1<<20)
	a, b := h.Bytes(small), h.Bytes(large)
	h.Close()
	if !faults(func() { a[0] = 1 }) || !faults(func() { b[0] = 1 }) {
		t.Error("memory is usable after Close")
	}
}
