package session

// Stats are a store's figures at one moment; or nearly: its parts are looked at one after the other.
type Stats struct {
	Active    int64 // sessions held, expired ones included until they are removed
	Created   int64 // since start ("State Server Sessions Total" of Microsoft's service)
	TimedOut  int64 // since start
	Abandoned int64 // removed by a web server, since start
	Refused   int64 // new sessions, and bodies of any, refused for lack of memory, since start
	Locked    int64 // sessions locked now
	Waiting   int64 // requests waiting for their turn now
	Held      int64 // waiting for a lock now; in a cluster, other nodes' questions included
	Leaving   int64 // sessions on their way to other nodes now
	Copies    int64 // sessions held of which nobody knows yet whose they are; counted in Active
	Apps      int64 // distinct application prefixes of the sessions held
	BodyBytes int64 // bytes of all bodies
	UsedBytes int64 // bytes that MaxMemory is held against
	MaxMemory int64 // bytes; 0 is no limit
}

// Stats adds up the store's figures. It holds up no request for longer than a few additions.
func (st *Store) Stats() Stats {
	total := Stats{
		Apps:      int64(st.apps.count()),
		UsedBytes: st.used.Load() + st.apps.bytes.Load(),
		MaxMemory: st.o.MaxMemory,
		Held:      st.held.Load(),
		Refused:   st.refused.Load(),
	}
	for i := range st.shards {
		s := &st.shards[i]
		s.mu.Lock()
		n, c := s.count, s.counts
		total.Copies += int64(s.copies)
		total.Leaving += int64(len(s.leaving))
		s.mu.Unlock()
		total.Active += int64(n)
		total.Created += c.created
		total.TimedOut += c.timedOut
		total.Abandoned += c.abandoned
		total.Refused += c.refused
		total.Locked += c.locked
		total.Waiting += c.waiting
		total.BodyBytes += c.bodyBytes
	}
	return total
}
