package service_test

import (
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// One page is two requests over a socket; a get is one. See docs/benchmarks.md for figures that compare.

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{256, 2400, 32 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			w := startNode(b).dial(b)
			w.want(200, set("a", "0", strings.Repeat("x", size)))
			request := []byte(get("a"))
			answer := make([]byte, len(w.ask(string(request)).raw))
			b.ReportAllocs()
			for b.Loop() {
				exchangeRaw(b, w.nc, request, answer)
			}
		})
	}
}

func BenchmarkPage(b *testing.B) {
	for _, size := range []int{256, 2400, 32 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			n := startNode(b)
			var clients atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				w := n.dial(b)
				id := sessionID(int(clients.Add(1)))
				put := set(id, "0", strings.Repeat("x", size))
				w.want(200, put)
				read, write := []byte(get(id)), []byte(put)
				readAnswer, writeAnswer := make([]byte, len(w.ask(string(read)).raw)), make([]byte, len(w.ask(put).raw))
				for pb.Next() {
					exchangeRaw(b, w.nc, read, readAnswer)
					exchangeRaw(b, w.nc, write, writeAnswer)
				}
			})
		})
	}
}

func exchangeRaw(b *testing.B, nc net.Conn, request, answer []byte) {
	if _, err := nc.Write(request); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(nc, answer); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		n := startNode(b)
		b.StopTimer()
		n.Stop()
		b.StartTimer()
	}
}
