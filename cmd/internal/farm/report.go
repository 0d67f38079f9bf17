package farm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"statemesh/cmd/internal/bench"
)

// Report is what users have noticed.
type Report struct {
	Took            time.Duration
	Pages, Requests uint64
	P50, P99        time.Duration // of pages

	Faults      map[faultKind]uint64
	FirstFaults []string

	// What is no fault while nodes come and go.
	Lost        uint64 // sessions gone with a node that was killed
	Back        uint64 // of these, which came back as they were, before they were created anew
	Late        uint64 // writes that were not answered and have happened after later ones
	Busy        uint64 // 423 that names no lock
	Locked      uint64 // 423 that does
	Refused     uint64 // 400
	Closed      uint64 // connections that ended before the answer
	TimedOut    uint64 // no answer within 10 s
	Unreachable uint64 // connections refused
	Stolen      uint64 // locks taken away whose holder had not heard of them
	Failed      uint64 // pages that a user saw fail

	// Longest is the longest wait for one answer, by node; LongestPage, for a page, polls of a locked session included.
	Longest     map[string]time.Duration
	LongestPage time.Duration
}

func (r *Report) reset() {
	*r = Report{Faults: make(map[faultKind]uint64), Longest: make(map[string]time.Duration)}
}

// heard counts a request by what came back.
func (r *Report) heard(got bench.Answer, err error) {
	r.Requests++
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.TimedOut++
	case brokenOff(err):
		r.Closed++
	case err != nil: // it made no sense, which is a fault
	case got.Status == 423 && got.Cookie <= 0:
		r.Busy++
	case got.Status == 423:
		r.Locked++
	case got.Status == 400:
		r.Refused++
	}
}

// brokenOff reports whether err is silence or a connection's end, as opposed to an answer that makes no sense.
func brokenOff(err error) bool {
	var op *net.OpError
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op)
}

// judged counts what an answer amounts to.
func (r *Report) judged(v verdict) {
	if v.lost {
		r.Lost++
	}
	if v.late {
		r.Late++
	}
	if v.back {
		r.Back++
	}
	if v.fault != nil {
		r.fault(v.fault)
	}
}

const faultsDescribed = 10

func (r *Report) fault(f *fault) {
	r.Faults[f.kind]++
	if len(r.FirstFaults) < faultsDescribed {
		r.FirstFaults = append(r.FirstFaults, string(f.kind)+": "+f.text)
	}
}

// Err is an error that tells the faults, if there were any.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return fmt.Errorf("%v\n%s", r.Faults, strings.Join(r.FirstFaults, "\n"))
}

func (r *Report) String() string {
	return fmt.Sprintf("%d pages, %d requests in %.1fs (p50 %v, p99 %v, longest %v); faults %v; lost %d, back %d, late %d, busy %d, locked %d, "+
		"refused %d, closed %d, timed out %d, unreachable %d, stolen %d, failed pages %d; longest wait %v",
		r.Pages, r.Requests, r.Took.Seconds(), r.P50, r.P99, r.LongestPage.Round(time.Millisecond), r.Faults, r.Lost, r.Back, r.Late, r.Busy, r.Locked,
		r.Refused, r.Closed, r.TimedOut, r.Unreachable, r.Stolen, r.Failed, rounded(r.Longest))
}

func rounded(m map[string]time.Duration) map[string]time.Duration {
	all := make(map[string]time.Duration)
	for k, d := range m {
		all[k] = d.Round(time.Millisecond)
	}
	return all
}
