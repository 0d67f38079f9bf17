package session

import "time"

// Try is a Store for a caller that must never wait, such as a loop that serves many web servers: where an operation would wait for
// its turn, or for a lock, it returns Taken, having done nothing, and may be tried again, or handed to somebody who may wait. A Set that
// was not started leaves its Body with the caller.
type Try struct{ st *Store }

// Try returns the store's operations without their waits.
func (st *Store) Try() Try { return Try{st} }

// Get is Store.Get, or Taken.
func (t Try) Get(k Key) Reply { return t.st.read(k, false, manner{}) }

// Acquire is Store.Acquire, or Taken.
func (t Try) Acquire(k Key) Reply { return t.st.read(k, true, manner{}) }

// Unlock is Store.Unlock, or Taken.
func (t Try) Unlock(k Key, cookie int32) Reply { return t.st.unlock(k, cookie, manner{}) }

// Set is Store.Set, or Taken.
func (t Try) Set(k Key, c Change) Reply { return t.st.set(k, c, manner{}) }

// Remove is Store.Remove, or Taken.
func (t Try) Remove(k Key, cookie int32) Reply { return t.st.remove(k, cookie, manner{}) }

// Touch is Store.Touch, or Taken.
func (t Try) Touch(k Key) Reply { return t.st.touch(k, manner{}) }

// Since is a Store for requests that came a while ago, and have waited somewhere else since: that counts, so that what they wait in all is
// what a request may wait.
type Since struct {
	st *Store
	m  manner
}

// Since returns the store's operations for a request that came at this time.
func (st *Store) Since(arrived time.Time) Since {
	return Since{st, manner{mayWait: true, arrived: max(int64(arrived.Sub(st.start)), 1)}}
}

// Get is Store.Get.
func (s Since) Get(k Key) Reply { return s.st.read(k, false, s.m) }

// Acquire is Store.Acquire.
func (s Since) Acquire(k Key) Reply { return s.st.read(k, true, s.m) }

// Unlock is Store.Unlock.
func (s Since) Unlock(k Key, cookie int32) Reply { return s.st.unlock(k, cookie, s.m) }

// Set is Store.Set.
func (s Since) Set(k Key, c Change) Reply { return s.st.set(k, c, s.m) }

// Remove is Store.Remove.
func (s Since) Remove(k Key, cookie int32) Reply { return s.st.remove(k, cookie, s.m) }

// Touch is Store.Touch.
func (s Since) Touch(k Key) Reply { return s.st.touch(k, s.m) }
