//go:build unix && !race

package session

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SpoilHeap makes the system refuse memory for slabs from now on. r is a reply with the first body of the store, whose slab is one span.
func (st *Store) SpoilHeap(r *Reply) error {
	const span, reservation = 64 << 10, 64 << 20
	first := uintptr(unsafe.Pointer(unsafe.SliceData(r.body))) / span * span
	return spoil(first+span, reservation-span)
}

// SpoilEntries makes the system refuse memory for more entries of k's shard than there are now, and SpoilIndex for more chains.
func (st *Store) SpoilEntries(k Key) error {
	s := st.shardOf(st.hash(k))
	return spoilTable(unsafe.Pointer(s.entries.At(0)), (s.count+1)*entrySize, maxEntries*entrySize)
}

func (st *Store) SpoilIndex(k Key) error {
	s := st.shardOf(st.hash(k))
	return spoilTable(unsafe.Pointer(s.chains.At(0)), s.buckets*4, maxEntries*4)
}

func spoilTable(base unsafe.Pointer, used, size int) error {
	page := os.Getpagesize()
	used = (used + page - 1) / page * page
	return spoil(uintptr(base)+uintptr(used), size-used)
}

// spoil puts something in a reservation's place that cannot be made writable: a file that is open for reading only.
func spoil(from uintptr, n int) error {
	self, err := os.Open(os.Args[0])
	if err != nil {
		return err
	}
	defer self.Close()
	addr := *(*unsafe.Pointer)(unsafe.Pointer(&from)) // no Go object
	_, err = unix.MmapPtr(int(self.Fd()), 0, addr, uintptr(n), unix.PROT_NONE, unix.MAP_SHARED|unix.MAP_FIXED)
	return err
}
