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
// node's. It is called before the machine runs. A file that cannot be read is left alone, and the node starts without it.
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
	r, err := n.dir.Open(n.snapshotSecrets()...)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		n.note("error", "the snapshot was left alone: %v", err)
		return nil
	}
	defer r.Close()
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
	if !n.sessions.Admit(key, record) {
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
// frozen. It returns their number and that of their bodies' bytes; 0, 0 without SnapshotDir.
func (n *Node) Snapshot(ctx context.Context) (sessions, bytes int64, err error) {
	if n.dir == nil {
		return 0, 0, nil
	}
	n.ask(func(time.Duration) { sessions, bytes, err = n.writeSnapshot(ctx) })
	if err != nil {
		return 0, 0, fmt.Errorf("write snapshot: %w", err)
	}
	return sessions, bytes, nil
}

func (n *Node) writeSnapshot(ctx context.Context) (sessions, bytes int64, err error) {
	var secret []byte
	if all := n.snapshotSecrets(); len(all) > 0 {
		secret = all[0]
	}
	w, err := n.dir.Create(secret)
	if err != nil {
		return 0, 0, err
	}
	defer w.Abort()
	for keys := n.sessions.Pick(snapshotBatch); len(keys) > 0; keys = n.sessions.Pick(snapshotBatch) {
		for _, k := range keys {
			record, ok := n.takeOut(k)
			if !ok {
				continue
			}
			body := record.Body.(*session.Stored).Bytes()
			rec := snapshot.Record{
				Key: []byte(k), Epoch: uint64(record.Epoch), Locked: record.Locked, Cookie: record.Cookie, LockAge: record.LockAge,
				Timeout: record.Timeout, TimeLeft: record.TimeLeft, New: record.New,
			}
			if err := w.Add(&rec, body); err != nil {
				return 0, 0, err
			}
			sessions++
			bytes += int64(len(body))
		}
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		n.keepFresh()
	}
	if sessions == 0 {
		return 0, 0, nil
	}
	_, err = w.Commit()
	return sessions, bytes, err
}

// takeOut freezes a session for the snapshot. One that is in somebody's turn at this moment is picked again.
func (n *Node) takeOut(k handoff.Key) (handoff.Record, bool) {
	n.tickets--
	l := n.sessions.Leave(k, n.tickets, handoff.Terms{Any: true})
	return l.Record, l.Now == handoff.Frozen
}
