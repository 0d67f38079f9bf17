//go:build !race

package offheap

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// lazy says that reserved memory costs nothing until it is touched.
const lazy = true

// reservation is how much address space is taken at a time.
const reservation = 64 << 20

// reserve takes n bytes of address space; commit makes them usable.
func reserve(n int) ([]byte, error) {
	addr, err := windows.VirtualAlloc(0, uintptr(n), windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	if err != nil {
		return nil, err
	}
	// Read as a pointer, not converted: addr is no Go object, so the garbage collector has no say in it.
	p := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	return unsafe.Slice((*byte)(p), n), nil
}

// commit makes b, part of a reservation, usable. Windows charges it against the commit limit from now on.
func commit(b []byte) error {
	_, err := windows.VirtualAlloc(address(b), uintptr(len(b)), windows.MEM_COMMIT, windows.PAGE_READWRITE)
	return err
}

// decommit gives b back to the operating system; it must be committed before it is used again.
func decommit(b []byte) {
	_ = windows.VirtualFree(address(b), uintptr(len(b)), windows.MEM_DECOMMIT) // a refusal only costs memory
}

// release ends a reservation; b is exactly what reserve returned.
func release(b []byte) { _ = windows.VirtualFree(address(b), 0, windows.MEM_RELEASE) }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
