package service

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"statemesh/cluster"
)

// The API of the status address, under /api/v1. docs/operations.md shows an answer of each.
//
//	GET  /api/v1/status         this node: Status
//	GET  /api/v1/members        the cluster as this node sees it: Members
//	POST /api/v1/drain          hand all sessions to other nodes and go on serving; answers as soon as that is under way, with Status
//	POST /api/v1/keys/reload    read the key file again: what SIGHUP does, where there are no signals
//
// Answers are JSON; of something refused, Problem. Fields are only ever added. guard.go says who may ask.

// Status is a node at one moment.
type Status struct {
	Node      string    `json:"node"`
	Version   string    `json:"version"`
	Phase     string    `json:"phase"` // starting, joining (it has not found its cluster), up, draining, stopping
	Clustered bool      `json:"clustered"`
	Started   time.Time `json:"started"`
	Uptime    float64   `json:"uptime_seconds"`
	Addresses Addrs     `json:"addresses"`

	Sessions struct {
		Held      int64 `json:"held"`
		Locked    int64 `json:"locked"`
		Created   int64 `json:"created"` // since the start, as are those below
		TimedOut  int64 `json:"timed_out"`
		Abandoned int64 `json:"abandoned"`
		Refused   int64 `json:"refused"`
	} `json:"sessions"`
	Memory struct {
		Bodies int64 `json:"body_bytes"`
		Used   int64 `json:"used_bytes"`
		Limit  int64 `json:"limit_bytes"` // 0: none
	} `json:"memory"`
	Applications int64 `json:"applications"`
	Waiting      int64 `json:"requests_waiting"`

	Cluster *ClusterStatus `json:"cluster,omitempty"`
	Drain   *Drain         `json:"drain,omitempty"` // once there has been one
}

// ClusterStatus is a node's part in its cluster: figures now, and counts since its start.
type ClusterStatus struct {
	Joined    bool              `json:"joined"`
	Members   int               `json:"members"` // live ones, itself included
	Queries   map[string]uint64 `json:"queries"` // by outcome
	MovedIn   uint64            `json:"moved_in"`
	MovedOut  uint64            `json:"moved_out"`
	BytesIn   uint64            `json:"moved_in_bytes"`
	BytesOut  uint64            `json:"moved_out_bytes"`
	Conflicts uint64            `json:"conflicts"`
	Fences    uint64            `json:"fences"`
	Waiting   int               `json:"waiting"`
	Arriving  int               `json:"arriving"`
	Leaving   int               `json:"leaving"`
	Copies    int               `json:"copies"`
	Events    []cluster.Event   `json:"events"` // the latest, oldest first
}

// Drain is how far handing all sessions over has come.
type Drain struct {
	Sessions  int64   `json:"sessions"` // handed over
	Bytes     int64   `json:"bytes"`    // of their bodies
	Remaining int64   `json:"remaining"`
	Members   int     `json:"members"` // that took any
	Elapsed   float64 `json:"elapsed_seconds"`
	Left      float64 `json:"left_seconds"` // at the pace so far; 0: not known
	Done      bool    `json:"done"`
	Problem   string  `json:"problem,omitempty"` // why it has ended early
}

// Members is the cluster as one node sees it.
type Members struct {
	Node    string           `json:"node"` // that was asked
	Members []cluster.Member `json:"members"`
}

// Problem is why a request was refused.
type Problem struct {
	Problem string `json:"problem"`
}

// A node's phases, for operators.
const (
	phaseStarting = "starting"
	phaseUp       = "up"
	phaseJoining  = "joining"
	phaseDraining = "draining"
	phaseStopping = "stopping"
)

func (s *Service) phase() string {
	switch {
	case s.stopping.Load():
		return phaseStopping
	case s.mesh != nil && !s.meshUp.Load():
		return phaseStarting
	case !s.clustered():
		return phaseUp
	}
	switch stats := s.mesh.Stats(); {
	case stats.Draining:
		return phaseDraining
	case !stats.Joined:
		return phaseJoining
	}
	return phaseUp
}

func (s *Service) addAPI(mux *http.ServeMux) {
	mux.Handle("GET /api/v1/status", readGuard(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.status()) }))
	mux.Handle("GET /api/v1/members", readGuard(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.members()) }))
	mux.Handle("POST /api/v1/drain", changeGuard(s.serveDrain))
	mux.Handle("POST /api/v1/keys/reload", changeGuard(s.serveReload))
}

func (s *Service) status() Status {
	now := time.Now()
	st := Status{
		Node:      s.o.NodeName,
		Version:   s.o.Version,
		Phase:     s.phase(),
		Clustered: s.clustered(),
		Started:   s.started.UTC().Truncate(time.Millisecond),
		Uptime:    now.Sub(s.started).Round(time.Millisecond).Seconds(),
		Addresses: s.Addrs(),
	}
	if f, ok := s.metrics.sessions.stats(); ok {
		st.Sessions.Held, st.Sessions.Locked, st.Sessions.Created = f.Active, f.Locked, f.Created
		st.Sessions.TimedOut, st.Sessions.Abandoned, st.Sessions.Refused = f.TimedOut, f.Abandoned, f.Refused
		st.Memory.Bodies, st.Memory.Used, st.Memory.Limit = f.BodyBytes, f.UsedBytes, f.MaxMemory
		st.Applications, st.Waiting = f.Apps, f.Waiting
	}
	if !s.clustered() || !s.meshUp.Load() {
		return st
	}
	c := s.mesh.Stats()
	st.Cluster = &ClusterStatus{
		Joined: c.Joined, Members: c.Members, Queries: c.Fetches,
		MovedIn: c.MovedIn, MovedOut: c.MovedOut, BytesIn: c.BytesIn, BytesOut: c.BytesOut,
		Conflicts: c.Conflicts, Fences: c.Fences, Waiting: c.Waiting, Arriving: c.Arriving, Leaving: c.Leaving, Copies: c.Copies,
		Events: latest(s.mesh.Events()),
	}
	st.Drain = s.drainStatus(c.Draining)
	return st
}

func (s *Service) drainStatus(draining bool) *Drain {
	err := s.drain.failed()
	if !draining && err == nil {
		return nil
	}
	p := s.mesh.Progress()
	d := &Drain{
		Sessions: p.Sessions, Bytes: p.Bytes, Remaining: p.Remaining, Members: p.Members,
		Elapsed: p.Elapsed.Round(time.Millisecond).Seconds(), Left: timeLeft(p).Seconds(), Done: p.Done,
	}
	if err != nil {
		d.Problem = err.Error()
	}
	return d
}

// latest are the last few events: the answer is asked for often.
func latest(all []cluster.Event) []cluster.Event {
	const few = 20
	if all == nil {
		return []cluster.Event{}
	}
	return all[max(0, len(all)-few):]
}

// members of a node that runs alone, or is starting, are itself.
func (s *Service) members() Members {
	if s.clustered() && s.meshUp.Load() {
		return Members{Node: s.o.NodeName, Members: append([]cluster.Member{}, s.mesh.Members()...)}
	}
	return Members{Node: s.o.NodeName, Members: []cluster.Member{{
		Name: s.o.NodeName, Self: true, State: s.phase(), Status: s.Addrs().Status, Version: s.o.Version, Started: s.started, Since: s.started,
	}}}
}

// serveDrain begins a drain, or finds one under way.
func (s *Service) serveDrain(w http.ResponseWriter, r *http.Request) {
	if !s.clustered() {
		refuse(w, http.StatusConflict, errAlone.Error()+", so nobody can take its sessions")
		return
	}
	if !s.meshUp.Load() {
		refuse(w, http.StatusServiceUnavailable, "this node is starting")
		return
	}
	ended := s.drain.begin()
	select {
	case <-ended:
		if err := s.drain.failed(); errors.Is(err, cluster.ErrNobody) {
			refuse(w, http.StatusConflict, err.Error())
			return
		}
	case <-time.After(drainRefusedWithin):
	case <-r.Context().Done():
	}
	answer(w, http.StatusAccepted, s.status())
}

// drainRefusedWithin is enough for a drain that cannot be to say so. One that is under way ends later, or has had little to do.
const drainRefusedWithin = 100 * time.Millisecond

func (s *Service) serveReload(w http.ResponseWriter, _ *http.Request) {
	switch err := s.ReloadKeys(); {
	case errors.Is(err, errAlone):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, err.Error())
	default:
		answer(w, http.StatusOK, s.status())
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil { // these types have nothing that cannot be written
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}

func refuse(w http.ResponseWriter, status int, why string) { answer(w, status, Problem{why}) }
