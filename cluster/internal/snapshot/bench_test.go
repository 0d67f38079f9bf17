package snapshot

import (
	"fmt"
	"io"
	"testing"
	"time"
)

// The operation is a whole snapshot of so many MB, sizes being those of the bodies. What it should be measured against is the disk:
//
//	dd if=/dev/zero of=x bs=1M count=1024 conv=fsync
const benchMB = 256

func benchSizes(b *testing.B, run func(b *testing.B, d *Dir, r *Record, body []byte, n int)) {
	for _, size := range []int{300, 1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d := inUse(b, b.TempDir())
			r := &Record{Key: []byte("/LM/W3SVC/2/ROOT(oXvp...854=)/bpr4mimb2vjn0123456789ab"), TimeLeft: time.Hour}
			b.SetBytes(benchMB << 20)
			b.ReportAllocs()
			run(b, d, r, make([]byte, size), benchMB<<20/size)
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	benchSizes(b, func(b *testing.B, d *Dir, r *Record, body []byte, n int) {
		for b.Loop() {
			writeN(b, d, r, body, n)
			b.StopTimer()
			drop(b, d)
			b.StartTimer()
		}
	})
}

func BenchmarkRead(b *testing.B) {
	benchSizes(b, func(b *testing.B, d *Dir, r *Record, body []byte, n int) {
		for b.Loop() {
			b.StopTimer()
			writeN(b, d, r, body, n)
			b.StartTimer()
			s, err := d.Open(nil, secret)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Consume(); err != nil {
				b.Fatal(err)
			}
			for {
				if _, err := s.Next(); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(s, body); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Done(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func writeN(b *testing.B, d *Dir, r *Record, body []byte, n int) {
	w, err := d.Create(secret)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Abort()
	for range n {
		if err := w.Add(r, body); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		b.Fatal(err)
	}
}

func drop(b *testing.B, d *Dir) {
	s, err := d.Open(nil, secret)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Consume(); err != nil {
		b.Fatal(err)
	}
	if err := s.Done(); err != nil {
		b.Fatal(err)
	}
}
