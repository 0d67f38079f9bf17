package service_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"statemesh/service"
)

// The last file descriptors are not for web servers that come, but for those that are here.
func TestMaxConnections_LeavesSomeDescriptors(t *testing.T) {
	var system unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &system); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &system); err != nil {
			t.Error(err)
		}
	})
	for _, test := range []struct {
		limit         uint64
		setting, want int
	}{
		{1000, 0, 750},
		{1000, 10, 10},
		{1000, 999, 750},
		{4096, 0, 4096 - 512},
	} {
		limit := unix.Rlimit{Cur: test.limit, Max: system.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Skip(err)
		}
		n := newNode(t, func(o *service.Options) { o.MaxConnections = test.setting })
		if got := n.MaxConnections(); got != test.want {
			t.Errorf("of %d descriptors, with the setting %d: %d connections, want %d", test.limit, test.setting, got, test.want)
		}
		if got := n.log.has("max_connections is more than this process may have"); got != (test.setting > test.want) {
			t.Errorf("of %d descriptors, with the setting %d: warned: %v", test.limit, test.setting, got)
		}
	}
}
