package main

import "os"

// keepAwake keeps idle processors from sleeping until end is called, on a Linux that lets this user ask for it. To wake one that sleeps takes a virtual
// machine longer than a request takes, and now this long, now that: measured without, one connection does half or twice the pages a second from one
// round to the next, against the same server.
func keepAwake() (end func(), err error) {
	wish, err := os.OpenFile("/dev/cpu_dma_latency", os.O_WRONLY, 0)
	if err != nil {
		return func() {}, err
	}
	end = func() { wish.Close() } // and the kernel forgets the wish
	// The longest that waking may take, in microseconds, as a number of 32 bits: none.
	if _, err := wish.Write(make([]byte, 4)); err != nil {
		end()
		return func() {}, err
	}
	return end, nil
}
