package handoff

import (
	"container/heap"
	"time"
)

// timers are what is to happen later, in order of time, and in order of setting at the same time.
type timers struct {
	heap timerHeap
	set  uint64
}

type timer struct {
	at   time.Duration
	seq  uint64
	do   func()
	slot int // in the heap; -1: not in it
}

func (ts *timers) add(at time.Duration, do func()) *timer {
	ts.set++
	t := &timer{at: at, seq: ts.set, do: do}
	heap.Push(&ts.heap, t)
	return t
}

// stop makes a timer do nothing any more. It may have happened already, or be nil.
func (ts *timers) stop(t *timer) {
	if t != nil && t.slot >= 0 {
		heap.Remove(&ts.heap, t.slot)
	}
}

// due takes out the next timer that is due, or nil.
func (ts *timers) due(now time.Duration) *timer {
	if len(ts.heap) == 0 || ts.heap[0].at > now {
		return nil
	}
	return heap.Pop(&ts.heap).(*timer)
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.slot = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.slot = -1
	return t
}
