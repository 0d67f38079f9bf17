package service

import (
	"math"

	"golang.org/x/sys/unix"
)

// spareDescriptors are not for web servers' connections, unless that is more than a quarter of all: listeners, the status address and other
// nodes need some, and a connection that leaves a loop needs a second one for a moment. Without them a web server that is being served
// would lose its connection because too many others came.
const spareDescriptors = 512

// connectionsAllowed is how many connections of web servers the system has file descriptors for.
func connectionsAllowed() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(limit.Cur - min(spareDescriptors, limit.Cur/4))
}
