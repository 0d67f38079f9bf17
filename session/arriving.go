package session

// Admit says whether there is room for a session that has arrived: above the memory limit only if it is wanted, because a web server waits for
// it here or it was here before, and by no more than an eighth. To its user it exists already, and is not to be refused as a new one is. If so
// the record's body is held, and there is room, until one of Own, Keep and Discard is called with the same record. It is a Look as well, and
// nothing else if what is there has this epoch or a later one, or is owned.
func (m *Moves) Admit(k string, r Record, wanted bool) (there Look, ok bool) {
	a := m.at(k)
	defer a.release()
	there = a.look()
	if there.Place == Owned || there.Place == Parting || there.Place == Copied && there.Epoch >= r.Epoch {
		return there, false
	}
	return there, a.admit(viewKey(k), r.Body, wanted)
}

func (a *access) admit(k Key, b *Stored, wanted bool) bool {
	st := a.store
	size := st.heap.Size(b.ref)
	limit := st.o.MaxMemory
	if wanted {
		limit = above(limit)
	}
	if !st.hasRoom(size, limit) {
		return false
	}
	a.promised++
	if err := a.makeRoom(a.count); err == nil {
		b.id, err = st.longID(k)
		if err == nil {
			b.Hold()
			st.used.Add(int64(size))
			return true
		}
	}
	a.promised--
	a.counts.refused++
	return false
}

// Own makes an admitted session owned, in place of a copy if there is one.
func (m *Moves) Own(k string, r Record) { m.settle(k, r, false) }

// Keep makes an admitted session a copy, in place of another if there is one.
func (m *Moves) Keep(k string, r Record) { m.settle(k, r, true) }

func (m *Moves) settle(k string, r Record, copied bool) {
	a := m.at(k)
	defer a.leave()
	a.drop()
	a.redeem(r.Body)
	key := viewKey(k)
	i := a.add(key, a.hash, r.Body.id)
	e := a.entries.At(i)
	e.timeout = min(max(r.Timeout, 0), MaxTimeout)
	e.expires = a.now + min(int64(r.TimeLeft), window(e.timeout))
	e.cookie = max(r.Cookie, firstCookie)
	if r.New {
		e.set(isNew)
	}
	if r.Locked {
		e.set(isLocked)
		e.lockedAt = a.now - int64(max(r.LockAge, 0))
		a.counts.locked++
	}
	a.setBody(e, r.Body.ref)
	a.schedule(i)
	a.setEpoch(i, r.Epoch)
	if copied {
		a.disown(i)
	}
}

// redeem ends a promise.
func (s *shard) redeem(b *Stored) {
	s.promised--
	s.store.used.Add(-int64(s.store.heap.Size(b.ref)))
}

// Discard drops an admitted session.
func (m *Moves) Discard(k string, r Record) {
	a := m.at(k)
	a.redeem(r.Body)
	_ = a.makeRoom(a.count) // smaller: cannot fail
	a.release()
	if r.Body.id != 0 {
		m.st.heap.Drop(r.Body.id)
	}
	r.Body.Release()
}

// copied finds the copy of a session, or none.
func (m *Moves) copied(k string) access {
	a := m.at(k)
	if a.i != 0 && a.owns(a.i) {
		a.i = 0
	}
	return a
}

// Adopt makes a copy owned, at an epoch.
func (m *Moves) Adopt(k string, epoch uint64) {
	a := m.copied(k)
	defer a.release()
	if a.i != 0 {
		a.copies--
		a.setEpoch(a.i, epoch)
		a.entry().clear(isTaken) // by whoever was at it when it was fenced
	}
}

// Drop drops a copy.
func (m *Moves) Drop(k string) {
	a := m.copied(k)
	defer a.leave()
	a.drop()
}
