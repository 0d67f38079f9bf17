package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"statemesh/cmd/internal/bench"
)

type pageFigures struct {
	sessions, apps, watchers int
	rounds                   [2][]*bench.Result // as many pages/s as there can be
	used                     [2][]float64       // shares of a processor that the node used for few pages/s
	answers                  []time.Duration    // of the page itself, with web servers and watchers busy; sorted
	page                     int64              // bytes of it
	told                     float64            // bytes a second to each watcher
	pinning                  string
}

const unwatched, watched = 0, 1

const (
	pageAllowed  = 100 * time.Millisecond
	watchAllowed = 0.99
	// watchCost is the same as a share of the processor that the node has to itself here: what browsers take, web servers do not get.
	watchCost = 0.01
	fewPages  = 500 // a second: enough that the page's figures change, few enough that what they cost varies less than what browsers cost
)

// page fills a node with sessions of many applications, and compares its throughput with and without browsers that watch its page live, in turns; and
// the processor time it uses, when it has little else to do. Then it loads the page again and again, while web servers and browsers go on.
func page(ctx context.Context, l *lab) (figures, error) {
	cores, pinning := bench.Pin()
	defer cores.Unpin()
	f := &pageFigures{sessions: l.pick(1_000_000, 20_000), apps: 200, watchers: 20, pinning: pinning}
	each := bench.FarmOptions{Conns: 16, Sessions: f.sessions / f.apps, Size: bench.Size{Min: 256, Max: 2048}, Minutes: 120}
	s, err := l.service(ctx, cores, each)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if err := s.Fill(ctx, l.progress); err != nil {
		return nil, err
	}
	for i := 1; i < f.apps; i++ {
		o := each
		o.App, o.Seed = fmt.Sprintf("/LM/W3SVC/%d/ROOT/app%d", 1+i%7, i), uint64(i)
		if err := s.alsoKeep(ctx, l, o); err != nil {
			return nil, err
		}
	}
	few := each
	few.App, few.Seed, few.Rate = "/LM/W3SVC/1/ROOT/few", uint64(f.apps), fewPages
	quiet, err := s.farm(ctx, few)
	if err != nil {
		return nil, err
	}
	defer quiet.Close()
	if err := quiet.Fill(ctx, l.progress); err != nil {
		return nil, err
	}
	for i := range l.pick(10, 2) {
		for _, side := range []int{unwatched, watched, watched, unwatched} { // so that neither has the better half of what the machine does meanwhile
			if err := f.round(ctx, l, s, side); err != nil {
				return nil, err
			}
			if i < 5 {
				if err := f.quietRound(ctx, l, s, quiet, side); err != nil {
					return nil, err
				}
			}
		}
	}
	return f, f.load(ctx, l, s)
}

// alsoKeep stores one more application's sessions.
func (s *service) alsoKeep(ctx context.Context, l *lab, o bench.FarmOptions) error {
	farm, err := s.farm(ctx, o)
	if err != nil {
		return err
	}
	defer farm.Close()
	return farm.Fill(ctx, l.progress)
}

// round asks for as many pages as there can be.
func (f *pageFigures) round(ctx context.Context, l *lab, s *service, side int) error {
	end, err := f.watchIf(ctx, s, side)
	if err != nil {
		return err
	}
	defer end()
	r := s.Run(ctx, l.pickTime(time.Second, 100*time.Millisecond), l.pickTime(4*time.Second, 1100*time.Millisecond), l.progress)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.rounds[side] = append(f.rounds[side], r)
	return right(r)
}

// quietRound asks for few pages, and looks what processor time the node uses.
func (f *pageFigures) quietRound(ctx context.Context, l *lab, s *service, few *bench.Farm, side int) error {
	end, err := f.watchIf(ctx, s, side)
	if err != nil {
		return err
	}
	defer end()
	few.Run(ctx, 0, l.pickTime(2*time.Second, 100*time.Millisecond), l.progress) // the first picture is larger than what follows
	began, used := time.Now(), bench.CPUTime(s.PID)
	r := few.Run(ctx, 0, l.pickTime(8*time.Second, 1100*time.Millisecond), l.progress)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.used[side] = append(f.used[side], (bench.CPUTime(s.PID)-used).Seconds()/time.Since(began).Seconds())
	return right(r)
}

// watchIf has browsers watch the page on one side of the comparison, until end is called.
func (f *pageFigures) watchIf(ctx context.Context, s *service, side int) (end func(), err error) {
	if side == unwatched {
		return func() {}, nil
	}
	watching, err := s.watch(ctx, f.watchers)
	return func() { f.told = watching() }, err
}

// watch has browsers watch the page. The function that it returns ends that, and returns how many bytes each was sent a second.
func (s *service) watch(ctx context.Context, n int) (end func() float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var told atomic.Int64
	began := time.Now()
	end = func() float64 {
		took := time.Since(began).Seconds()
		cancel()
		wg.Wait()
		return float64(told.Load()) / float64(n) / took
	}
	client := http.Client{Transport: &http.Transport{}}
	for range n {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Status+"/live", nil)
		if err != nil {
			end()
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			end()
			return nil, fmt.Errorf("watch the page: %w", statusError(resp, err))
		}
		wg.Go(func() {
			defer resp.Body.Close()
			b := make([]byte, 64<<10)
			for {
				n, err := resp.Body.Read(b)
				told.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	return end, nil
}

func statusError(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("answered %s", resp.Status)
}

// load loads the page a few times a second, while web servers ask for all they can and browsers watch.
func (f *pageFigures) load(ctx context.Context, l *lab, s *service) error {
	end, err := s.watch(ctx, f.watchers)
	if err != nil {
		return err
	}
	defer end()
	times := l.pick(400, 20)
	const every = 50 * time.Millisecond
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx, 0, time.Duration(times)*every+time.Second, l.progress) })
	defer wg.Wait()
	for range times {
		began := time.Now()
		if f.page, err = s.get(ctx, "/"); err != nil {
			return err
		}
		f.answers = append(f.answers, time.Since(began))
		if err := sleep(ctx, every-time.Since(began)); err != nil {
			return err
		}
	}
	slices.Sort(f.answers)
	return nil
}

// get asks the status address for something, on a connection of its own, and returns its size.
func (s *service) get(ctx context.Context, path string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Status+path, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("load %s: %w", path, statusError(resp, err))
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}

func (f *pageFigures) section() section {
	without, with := bench.Median(f.rounds[unwatched], pagesPerSecond), bench.Median(f.rounds[watched], pagesPerSecond)
	ratio := with / without
	share := func(used float64) float64 { return used }
	busy, busier := bench.Median(f.used[unwatched], share), bench.Median(f.used[watched], share)
	p50, p99 := f.answers[len(f.answers)/2], f.answers[len(f.answers)*99/100]
	return section{
		how: fmt.Sprintf("A node with %s sessions of %d applications. 16 connections ask for pages of one of them, with and without %d browsers that watch\n"+
			"the status page, in turns: medians of %d rounds each. The same for %d pages/s, where what browsers cost stands out from\n"+
			"what varies anyway: medians of %d rounds. "+
			"Then the page is loaded %d times, while web servers and browsers go on.",
			count(f.sessions), f.apps, f.watchers, len(f.rounds[watched]), fewPages, len(f.used[watched]), len(f.answers)),
		command: "go run ./cmd/benchreport -only page",
		rows: []row{
			{"the status page answers, p99", fmt.Sprintf("under %v", pageAllowed), fmt.Sprintf("%v (p50 %v, %d kB)",
				p99.Round(100*time.Microsecond), p50.Round(100*time.Microsecond), f.page/1000), p99 < pageAllowed},
			{fmt.Sprintf("pages/s while %d browsers watch, in ratio to none", f.watchers), fmt.Sprintf("at least %.2f", watchAllowed),
				fmt.Sprintf("%.3f (%.0f to %.0f)", ratio, with, without), ratio >= watchAllowed},
			{fmt.Sprintf("what %d browsers take of the node's processor", f.watchers), fmt.Sprintf("at most %.0f %%", 100*watchCost),
				fmt.Sprintf("%.2f %% (%.2f %% to %.2f %%)", 100*(busier-busy), 100*busier, 100*busy), busier-busy <= watchCost},
		},
		details: fmt.Sprintf("Each browser was sent %.1f kB a second. %s.", f.told/1000, f.pinning),
	}
}
