package service

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// sketch is a sample of session ids, made so that the samples of two applications, wherever they are taken, have ids in common if the
// applications do: it keeps the sketchSize ids whose hashes are the lowest, and of those the hashes only. An id that is in two sketches was asked for
// under both applications. If none is, there are none that both have, or few: of the ids that either has, fewer than about one in sketchSize.
//
// Once an application has many more sessions than that, hardly any request has to do with it: its id's hash is not below the limit.
type sketch struct {
	limit  atomic.Uint64             // what is not below does not belong; 0 while there is room
	hashes [sketchSize]atomic.Uint64 // in no order; 0 where there is none

	mu sync.Mutex // held to change them
	n  int
}

const sketchSize = 32

// add may be called by anybody at any time.
func (s *sketch) add(h uint64) {
	if limit := s.limit.Load(); limit != 0 && h >= limit || s.has(h) {
		return
	}
	s.insert(h)
}

func (s *sketch) has(h uint64) bool {
	for i := range s.hashes {
		if s.hashes[i].Load() == h {
			return true
		}
	}
	return false
}

func (s *sketch) insert(h uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.has(h):
		return
	case s.n < sketchSize:
		s.hashes[s.n].Store(h)
		s.n++
	default:
		if i := s.highestLocked(); h < s.hashes[i].Load() {
			s.hashes[i].Store(h)
		}
	}
	if s.n == sketchSize {
		s.limit.Store(s.hashes[s.highestLocked()].Load())
	}
}

func (s *sketch) highestLocked() (highest int) {
	for i := range s.hashes {
		if s.hashes[i].Load() > s.hashes[highest].Load() {
			highest = i
		}
	}
	return highest
}

// merged is what a sketch of all ids in two would have, in order. Either may be nil.
func merged(sketches ...*sketch) []uint64 {
	var all []uint64
	for _, s := range sketches {
		if s == nil {
			continue
		}
		for i := range s.hashes {
			if h := s.hashes[i].Load(); h != 0 {
				all = append(all, h)
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), sketchSize)]
}

// hashID is the same on every node, so it has no secret. It needs none: ASP.NET's ids are random, and nobody gains by one that is in a sketch. Nor is
// it the id: it has 64 bits of the id's 120.
func hashID(id []byte) uint64 {
	h := uint64(len(id))
	for ; len(id) >= 8; id = id[8:] {
		h = stir(h ^ binary.LittleEndian.Uint64(id))
	}
	for _, b := range id {
		h = stir(h ^ uint64(b))
	}
	// Each bit of the result depends on each of h's: the end of MurmurHash3.
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func stir(h uint64) uint64 {
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>32
}
