package main

import (
	"context"
	"fmt"
	"time"

	"statemesh/cmd/internal/bench"
)

type memoryFigures struct {
	sessions int
	sizes    []memoryOfSize
	returned memoryReturned
}

// memoryOfSize is the memory for bodies of one size.
type memoryOfSize struct {
	size              int
	empty             int64 // resident before anything was stored
	loaded, rewritten memoryPoint
}

type memoryPoint struct{ resident, bodies int64 }

func (p memoryPoint) beyond(sessions int) float64 {
	return float64(p.resident-p.bodies) / float64(sessions)
}

// memoryReturned is what happened when nine of ten sessions expired.
type memoryReturned struct {
	live           int // sessions left
	bodies         int64
	before, lowest int64         // resident
	within         time.Duration // until resident memory was low enough, from the last one's expiry; 0: never
}

const (
	beyondAllowed = 130 // bytes a session
	liveAllowed   = 1.3
	comeToRest    = 5 * time.Second
)

// liveBytes are the bodies that are left, and what a session may cost beyond its body.
func (r memoryReturned) liveBytes() int64 { return r.bodies + int64(r.live)*beyondAllowed }

// memory fills a service, rewrites every session twice with bodies up to half as long or as short again, and sees what memory the
// process has each time; then it lets nine of ten sessions expire.
func memory(ctx context.Context, l *lab) (figures, error) {
	f := memoryFigures{sessions: l.pick(1_000_000, 20_000)}
	for i, size := range []int{256, 1024} {
		last := i == 1
		m, err := memoryOf(ctx, l, f.sessions, size, func(s *service) (err error) {
			if last {
				f.returned, err = returned(ctx, l, s, f.sessions)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%d B: %w", size, err)
		}
		f.sizes = append(f.sizes, m)
	}
	return f, nil
}

func memoryOf(ctx context.Context, l *lab, sessions, size int, then func(s *service) error) (m memoryOfSize, err error) {
	m.size = size
	s, err := l.service(ctx, nil, bench.FarmOptions{Conns: 16, Sessions: sessions, Size: bench.Size{Min: size, Max: size}, Minutes: 60})
	if err != nil {
		return m, err
	}
	defer s.stop()
	if m.empty, err = bench.ResidentBytes(s.PID); err != nil {
		return m, err
	}
	measure := func(p *memoryPoint) error {
		p.bodies = s.BodyBytes()
		p.resident, err = s.resident(ctx, l.pickTime(comeToRest, 100*time.Millisecond))
		return err
	}
	if err := s.Fill(ctx, l.progress); err != nil {
		return m, err
	}
	if err := measure(&m.loaded); err != nil {
		return m, err
	}
	s.Resize(bench.Size{Min: size / 2, Max: size * 3 / 2})
	for range 2 {
		if err := s.Rewrite(ctx, l.progress, nil); err != nil {
			return m, err
		}
	}
	if err := measure(&m.rewritten); err != nil {
		return m, err
	}
	return m, then(s)
}

// returned rewrites every session, nine of ten so that they expire a minute later, and watches the memory come back.
func returned(ctx context.Context, l *lab, s *service, sessions int) (r memoryReturned, err error) {
	// Which ones: by a bit mixer, so that they are spread over the whole of the store.
	stays := func(session uint32) bool { return session*2654435761>>16%10 == 0 }
	for session := range uint32(sessions) {
		if stays(session) {
			r.live++
		}
	}
	if err := s.Rewrite(ctx, l.progress, func(session uint32) int {
		if stays(session) {
			return 60
		}
		return 1
	}); err != nil {
		return r, err
	}
	lastExpiry := time.Now().Add(time.Minute)
	r.bodies = s.BodyBytes() / int64(sessions) * int64(r.live) // sizes are random: the average is near enough
	if r.before, err = bench.ResidentBytes(s.PID); err != nil {
		return r, err
	}
	l.progress.Note("waiting until nine of ten sessions expire")
	if err := sleep(ctx, time.Until(lastExpiry)); err != nil {
		return r, err
	}
	for r.lowest = r.before; time.Since(lastExpiry) < time.Minute; {
		now, err := s.resident(ctx, 250*time.Millisecond)
		if err != nil {
			return r, err
		}
		r.lowest = min(r.lowest, now)
		if float64(now) <= liveAllowed*float64(r.liveBytes()) {
			r.within = time.Since(lastExpiry)
			break
		}
	}
	held, err := s.metrics(ctx)
	if err != nil {
		return r, err
	}
	if int(held[metricSessions]) != r.live {
		return r, fmt.Errorf("the service holds %v sessions, want %d", held[metricSessions], r.live)
	}
	return r, nil
}

func (f memoryFigures) section() section {
	s := section{
		how: fmt.Sprintf("%s sessions with keys as IIS makes them, stored, then each rewritten twice with bodies of random other sizes (±50 %%).\n"+
			"Resident memory of the whole process, less the bytes of the bodies, by session.", count(f.sessions)),
		command: "go run ./cmd/benchreport -only memory",
	}
	s.details = "| body | empty process | loaded: resident, bodies | rewritten: resident, bodies |\n|--:|--:|--:|--:|\n"
	for _, m := range f.sizes {
		for _, at := range []struct {
			when string
			p    memoryPoint
		}{{"loaded", m.loaded}, {"rewritten twice", m.rewritten}} {
			beyond := at.p.beyond(f.sessions)
			s.rows = append(s.rows, row{fmt.Sprintf("memory beyond bodies of %d B, %s", m.size, at.when), fmt.Sprintf("at most %d B a session", beyondAllowed),
				fmt.Sprintf("%.0f B", beyond), beyond <= beyondAllowed})
		}
		s.details += fmt.Sprintf("| %d B | %s | %s, %s | %s, %s |\n", m.size, mb(m.empty), mb(m.loaded.resident), mb(m.loaded.bodies),
			mb(m.rewritten.resident), mb(m.rewritten.bodies))
	}
	r := f.returned
	ratio := float64(r.lowest) / float64(r.liveBytes())
	measured := fmt.Sprintf("after %.1f s", r.within.Seconds())
	if r.within == 0 {
		measured = "never within 60 s"
	}
	s.rows = append(s.rows, row{"resident memory down to 1.3 times the live bytes, after nine of ten sessions have expired", "within 60 s",
		fmt.Sprintf("%s (%.2f times)", measured, ratio), r.within > 0})
	s.details += fmt.Sprintf("\nExpiry of nine of ten sessions of 1024 B (±50 %%): resident memory went from %s to %s with %s sessions left, whose bodies are\n"+
		"%s; \"live bytes\" are these and %d B a session.", mb(r.before), mb(r.lowest), count(r.live), mb(r.bodies), beyondAllowed)
	return s
}

func mb(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
