//go:build race || !(unix || windows)

package offheap

// On systems without a way to reserve memory, and under the race detector, which watches nothing but Go's own heap, "off heap"
// is a figure of speech: everything is an ordinary byte slice.

const (
	lazy        = false
	reservation = maxRun * spanSize
)

func reserve(n int) ([]byte, error) { return make([]byte, n), nil }
func commit(b []byte) error         { return nil }
func decommit(b []byte)             {}
func release(b []byte)              {}
