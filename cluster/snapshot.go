package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/snapshot"
	"statemesh/session"
)

// openSnapshot takes in what the last run left. In a cluster these are mere copies, of which the others may know better; alone they are this
// node's. It is called before the machine runs. A file that cannot be read is left alone, and the node starts without it; one that there is no
// memory for is, too, but then the node does not start: with a higher limit it could.
func (n *Node) openSnapshot() error {
	if n.o.SnapshotDir == "" {
		return nil
	}
	var err error
	if n.dir, err = snapshot.Use(n.o.SnapshotDir); err != nil {
		return err
	}
	for _, file := range n.dir.Swept {
		n.log.Warn("removed what an earlier run had left half-done: those sessions are gone", "file", file)
	}
	need := n.o.Store.Reckon()
	r, err := n.dir.Open(func(key []byte, size int) { need.Add(string(key), size) }, n.snapshotSecrets()...)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		n.note("error", "the snapshot was left alone: %v", err)
		return nil
	}
	defer r.Close()
	if !need.Fits() {
		return fmt.Errorf("the sessions in %s need %.1f MB, and max_memory is %.1f MB: raise it, or, if they may be lost, remove the file",
			n.dir.File(), float64(need.Bytes())/1e6, float64(n.o.Store.Stats().MaxMemory)/1e6)
	}
	if err := r.Consume(); err != nil {
		return err
	}
	began, taken := time.Now(), 0
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = n.adoptRecord(r, rec)
		}
		if err != nil {
			n.note("error", "%d of %d sessions of the snapshot were taken in, the rest is gone: %v", taken, r.Sessions, err)
			return nil
		}
		taken++
	}
	n.note("info", "took in %d sessions of the snapshot of %s in %s; %d have expired meanwhile",
		taken, r.Written.Format(time.RFC3339), time.Since(began).Round(time.Millisecond), r.Expired)
	if !n.o.alone() && taken > 0 {
		n.machine.Fence(n.now()) // has them asked for
	}
	return r.Done()
}

// putBack leaves what a Start that failed has taken in to the next one. The machine does not run.
func (n *Node) putBack(ctx context.Context) {
	if n.dir == nil || n.sessions.Len() == 0 {
		return
	}
	s := snapshotting{Node: n, ctx: context.WithoutCancel(ctx)}
	if err := s.write(); err != nil {
		n.note("error", "the sessions of the snapshot are lost: they cannot be written again: %v", err)
	}
}

// adoptRecord takes one session in.
func (n *Node) adoptRecord(r io.Reader, rec snapshot.Record) error {
	body, err := n.o.Store.NewBody(max(rec.Size, 1))
	if err != nil {
		return err
	}
	for !body.Full() {
		next := body.Next()
		if len(next) == 0 {
			body.Discard()
			return session.ErrNoMemory
		}
		got, err := io.ReadFull(r, next)
		if err != nil {
			body.Discard()
			return err
		}
		body.Filled(got)
	}
	stored := body.Stored()
	defer stored.Release()
	record := handoff.Record{
		Epoch: handoff.Epoch(rec.Epoch), Locked: rec.Locked, Cookie: rec.Cookie, LockAge: rec.LockAge, Timeout: rec.Timeout,
		TimeLeft: rec.TimeLeft, New: rec.New, Size: rec.Size, Body: stored,
	}
	key := handoff.Key(rec.Key)
	switch there, ok := n.sessions.Admit(key, record, true); {
	case there.InTheWayOf(record.Epoch): // it stands in the file twice
		return nil
	case !ok:
		return session.ErrNoMemory
	}
	if n.o.alone() {
		n.sessions.Own(key, record)
	} else {
		n.sessions.Keep(key, record)
	}
	return nil
}

// snapshotSecrets are those of the cluster's keys; without one the folder has its own.
func (n *Node) snapshotSecrets() [][]byte {
	if n.ring == nil {
		return nil
	}
	return n.ring.SnapshotSecrets()
}

// snapshotBatch is how many sessions are asked of the store at a time.
const snapshotBatch = 1024

// Snapshot writes what is still here to SnapshotDir, for the next start to find. To be called when no web server is served any more: the sessions are
// frozen. It returns their number and that of their bodies' bytes; 0, 0 without SnapshotDir. If ctx ends meanwhile, what has been written by then is
// kept, and it is an error.
func (n *Node) Snapshot(ctx context.Context) (sessions, bytes int64, err error) {
	if n.dir == nil {
		return 0, 0, nil
	}
	s := snapshotting{Node: n, ctx: ctx}
	if !n.ask(func(time.Duration) { err = s.write() }) {
		err = errStopped
	}
	if err != nil {
		err = fmt.Errorf("write snapshot: %w", err)
	}
	return s.sessions, s.bytes, err
}

// snapshotting is a snapshot being written, with the machine held up, which has nothing better to do any more.
type snapshotting struct {
	*Node
	ctx             context.Context
	w               *snapshot.Writer
	sessions, bytes int64 // written
}

func (s *snapshotting) write() error {
	var secret []byte
	if all := s.snapshotSecrets(); len(all) > 0 {
		secret = all[0]
	}
	var err error
	if s.w, err = s.dir.Create(secret); err != nil {
		return err
	}
	defer s.w.Abort()
	err = s.addAll()
	if s.sessions == 0 {
		return err
	}
	if _, failed := s.w.Commit(); failed != nil {
		s.sessions, s.bytes = 0, 0
		return failed
	}
	if s.w.Aside != "" {
		s.log.Warn("an earlier snapshot that could not be read was moved aside", "file", s.w.Aside)
	}
	return err
}

// addAll adds those under way to somebody, who may be dying just now, and then what is here. Should somebody turn out to have
// one of them after all, that one is the later.
func (s *snapshotting) addAll() error {
	for _, d := range s.machine.Underway(s.now()) {
		if err := s.add(d.Key, d.Record); err != nil {
			return err
		}
	}
	for idle := 0; idle <= s.Node.sessions.Len(); { // until a whole tour of the store has found nothing more
		keys := s.Node.sessions.Pick(snapshotBatch)
		if len(keys) == 0 {
			return nil
		}
		for _, k := range keys {
			record, ok := s.takeOut(k)
			if !ok {
				idle++
				continue
			}
			idle = 0
			if err := s.add(k, record); err != nil {
				return err
			}
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		s.showRunning() // however long it takes, this is no standing still
	}
	return nil
}

// takeOut freezes a session. One that is in somebody's turn at this moment is picked again.
func (s *snapshotting) takeOut(k handoff.Key) (handoff.Record, bool) {
	if look := s.Node.sessions.Look(k); look.State == handoff.Copied {
		s.Node.sessions.Adopt(k, look.Epoch) // it will be a copy again when it is read
	}
	s.tickets--
	l := s.Node.sessions.Leave(k, s.tickets, handoff.Terms{Any: true})
	return l.Record, l.Now == handoff.Frozen
}

func (s *snapshotting) add(k handoff.Key, r handoff.Record) error {
	body := r.Body.(*session.Stored).Bytes()
	rec := snapshot.Record{
		Key: []byte(k), Epoch: uint64(r.Epoch), Locked: r.Locked, Cookie: r.Cookie, LockAge: r.LockAge,
		Timeout: r.Timeout, TimeLeft: r.TimeLeft, New: r.New,
	}
	if err := s.w.Add(&rec, body); err != nil {
		return err
	}
	s.sessions++
	s.bytes += int64(len(body))
	return nil
}
