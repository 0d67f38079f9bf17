//go:build unix && !race

package offheap

import "golang.org/x/sys/unix"

// lazy says that reserved memory costs nothing until it is touched.
const lazy = true

// reservation is how much address space is taken at a time.
const reservation = 64 << 20

// reserve takes n bytes of address space; commit makes them usable. Inaccessible pages are charged to nobody, even where the kernel
// promises no more memory than it has (vm.overcommit_memory=2).
func reserve(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// commit makes b, part of a reservation, usable. The kernel supplies pages as they are touched.
func commit(b []byte) error { return unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE) }

// decommit gives b's pages back to the operating system. The address range stays ours, and accessible: changing that for pieces here
// and there would run into the kernel's limit on the number of mappings.
func decommit(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) } // a refusal only costs memory

// release ends a reservation; b is exactly what reserve returned.
func release(b []byte) { _ = unix.Munmap(b) } // fails only for a b that is not ours
