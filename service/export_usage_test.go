package service

import (
	"net"
	"time"

	"statemesh/session"
)

// What tests of the usage reach for.

type (
	AppUsage = appUsage
	AppID    = appID
	Sketch   = sketch
)

const (
	MaxApps       = maxApps
	MaxWebServers = maxWebServers
	SketchSize    = sketchSize
	MaxAppID      = maxAppID
)

var (
	ParseAppID = parseAppID
	HashID     = hashID
	Merged     = merged
)

// Usage is what the node knows of the applications.
func (s *Service) Usage() []AppUsage { return s.conns.usage.snapshot(s.store.Apps()) }

func (s *sketch) Add(h uint64) { s.add(h) }

// Usage is a usage without a node.
type Usage struct{ u *usage }

func NewUsage() Usage { return Usage{newUsage()} }

func (u Usage) Snapshot(stats ...session.AppStats) []AppUsage { return u.u.snapshot(stats) }

// Asker is a connection's part in it.
type Asker struct {
	a     asker
	start time.Time
}

func (u Usage) Asker(remote net.Addr) *Asker { return &Asker{u.u.asker(remote), time.Now()} }

// Ask counts a request for the session with this key.
func (a *Asker) Ask(key string, exists bool) {
	a.AskAt(session.KeyOf([]byte(key)), exists, time.Since(a.start))
}

// AskAt does so at a time after the connection was made.
func (a *Asker) AskAt(k session.Key, exists bool, now time.Duration) { a.a.count(k, exists, now) }

// Hold keeps everybody else from the list of applications until it is called.
func (u Usage) Hold() (letGo func()) {
	u.u.mu.Lock()
	return u.u.mu.Unlock
}
