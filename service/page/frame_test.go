package page

import (
	"testing"
	"time"

	"statemesh/service/page/pagetest"
)

// BenchmarkFrame is what watching costs a node in a second, however many watch: with three members, and with a hundred members and two hundred
// applications.
func BenchmarkFrame(b *testing.B) {
	for _, name := range []string{"healthy", "large"} {
		b.Run(name, func(b *testing.B) {
			now := time.Now()
			node := pagetest.All(now)[name]
			p := New(node)
			var f *frame
			sent := 0
			for b.Loop() {
				now = now.Add(time.Second)
				node.S.Sessions.Held++
				node.A.Applications[0].Requests++
				next, err := p.render(now, f)
				if err != nil {
					b.Fatal(err)
				}
				f = next
				sent += len(f.step)
			}
			b.ReportMetric(float64(sent)/float64(b.N), "B/reader")
		})
	}
}

// BenchmarkPage is what one who loads the page has to wait for, if nobody watches.
func BenchmarkPage(b *testing.B) {
	node := pagetest.Large(time.Now())
	p := New(node)
	for b.Loop() {
		f, err := p.render(time.Now(), nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.page(); err != nil {
			b.Fatal(err)
		}
	}
}
