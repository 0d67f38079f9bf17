package session

// Try is a Store for a caller that must never wait, such as a loop that serves many web servers: where an operation would wait for
// its turn it returns Taken, having done nothing, and may be tried again, or handed to somebody who may wait. A Set that
// was not started leaves its Body with the caller.
type Try struct{ st *Store }

// Try returns the store's operations without their waits.
func (st *Store) Try() Try { return Try{st} }

// Get is Store.Get, or Taken.
func (t Try) Get(k Key) Reply { return t.st.read(k, false, false) }

// Acquire is Store.Acquire, or Taken.
func (t Try) Acquire(k Key) Reply { return t.st.read(k, true, false) }

// Unlock is Store.Unlock, or Taken.
func (t Try) Unlock(k Key, cookie int32) Reply { return t.st.unlock(k, cookie, false) }

// Set is Store.Set, or Taken.
func (t Try) Set(k Key, c Change) Reply { return t.st.set(k, c, false) }

// Remove is Store.Remove, or Taken.
func (t Try) Remove(k Key, cookie int32) Reply { return t.st.remove(k, cookie, false) }

// Touch is Store.Touch, or Taken.
func (t Try) Touch(k Key) Reply { return t.st.touch(k, false) }
