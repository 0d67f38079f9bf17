package session

// Reckoning adds up what sessions take that are to be admitted later: all of them, or none.
type Reckoning struct {
	st    *Store
	apps  map[string]struct{}
	bytes int64
}

// Reckon begins with nothing.
func (st *Store) Reckon() *Reckoning { return &Reckoning{st: st, apps: map[string]struct{}{}} }

// Add adds a session, with a body of so many bytes.
func (r *Reckoning) Add(k string, body int) {
	key, heap := viewKey(k), r.st.heap
	r.bytes += entrySize + 4 + placeSize + int64(heap.SizeOf(body))
	if len(key.id) > shortID {
		r.bytes += int64(heap.SizeOf(len(key.id)))
	}
	if _, ok := r.apps[string(key.app)]; !ok {
		r.apps[string(key.app)] = struct{}{}
		r.bytes += appBytes(len(key.app))
	}
}

// Bytes is the sum.
func (r *Reckoning) Bytes() int64 { return r.bytes }

// Fits says whether there is room for all of them, if they are wanted.
func (r *Reckoning) Fits() bool {
	limit := r.st.o.MaxMemory
	return limit <= 0 || r.st.used.Load()+r.st.apps.bytes.Load()+r.bytes <= above(limit)
}
