package session

import (
	"bytes"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// app is one application prefix, kept once for all its sessions.
type app struct {
	prefix []byte
	hash   uint64
	refs   int // sessions; guarded by apps.mu
}

// appCost is about what an application costs beyond its prefix's bytes.
const appCost = 200

// appBytes is what one takes whose prefix is so long.
func appBytes(prefix int) int64 { return int64(2*prefix + appCost) }

// apps gives each application prefix a number. Looking a number up takes no lock; sessions come and go under mu.
type apps struct {
	seed maphash.Seed

	mu     sync.Mutex
	byName map[string]uint32
	free   []uint32
	bytes  atomic.Int64
	all    atomic.Pointer[[]atomic.Pointer[app]]
}

func newApps(seed maphash.Seed) *apps {
	a := &apps{seed: seed, byName: map[string]uint32{}}
	a.all.Store(&[]atomic.Pointer[app]{})
	return a
}

// at is application n, which some session must be using.
func (a *apps) at(n uint32) *app { return (*a.all.Load())[n].Load() }

// is tells whether application n, in use, has this prefix.
func (a *apps) is(n uint32, prefix []byte) bool { return bytes.Equal(a.at(n).prefix, prefix) }

// add counts one more session of the application and returns its number.
func (a *apps) add(prefix []byte) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, ok := a.byName[string(prefix)]; ok {
		a.at(n).refs++
		return n
	}
	n := a.freeNumber()
	p := bytes.Clone(prefix)
	(*a.all.Load())[n].Store(&app{prefix: p, hash: maphash.Bytes(a.seed, p), refs: 1})
	a.byName[string(p)] = n
	a.bytes.Add(appBytes(len(p)))
	return n
}

func (a *apps) freeNumber() uint32 {
	if k := len(a.free); k > 0 {
		n := a.free[k-1]
		a.free = a.free[:k-1]
		return n
	}
	old := *a.all.Load()
	grown := make([]atomic.Pointer[app], max(4, 2*len(old)))
	for i := range old {
		grown[i].Store(old[i].Load())
	}
	a.all.Store(&grown)
	for n := len(grown) - 1; n > len(old); n-- {
		a.free = append(a.free, uint32(n))
	}
	return uint32(len(old))
}

// drop counts one session less; an application without any is forgotten.
func (a *apps) drop(n uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.at(n)
	if p.refs--; p.refs > 0 {
		return
	}
	delete(a.byName, string(p.prefix))
	(*a.all.Load())[n].Store(nil)
	a.free = append(a.free, n)
	a.bytes.Add(-appBytes(len(p.prefix)))
}

// count is the number of applications that have sessions.
func (a *apps) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.byName)
}
