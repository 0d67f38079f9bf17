package service

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"statemesh/cluster"
	"statemesh/service/api"
	"statemesh/service/page"
)

// The API of the status address: package api has its documents, and guard.go who may ask.

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
	read := func(path string, h http.HandlerFunc) { addMethod(mux, "GET", path, h) }
	read("/api/v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.status()) })
	read("/api/v1/members", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.membersSaying()) })
	read("/api/v1/applications", func(w http.ResponseWriter, _ *http.Request) {
		answerText(w, http.StatusOK, s.sampler.latest().appText())
	})
	read("/api/v1/history", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.sampler.History()) })
	read("/api/v1/events", s.serveEvents)
	addMethod(mux, "POST", "/api/v1/drain", page.ForPeople(http.HandlerFunc(s.serveDrain)))
	addMethod(mux, "POST", "/api/v1/keys/reload", http.HandlerFunc(s.serveReload))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there is no such document")
	})
}

// addMethod answers one method, which if it is GET has HEAD with it, and refuses all others.
func addMethod(mux *http.ServeMux, method, path string, h http.Handler) {
	mux.Handle(method+" "+path, h)
	allowed := method
	if method == http.MethodGet {
		allowed += ", HEAD"
	}
	mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allowed)
		refuse(w, http.StatusMethodNotAllowed, "ask for it by "+strings.ReplaceAll(allowed, ", ", " or "))
	})
}

// status is this node now. Rates and findings are those of the last second.
func (s *Service) status() api.Status {
	st := s.figures(time.Now())
	sampled := s.sampler.latest()
	st.Operations, st.Findings = sampled.status.Operations, sampled.status.Findings
	return st
}

// figures are the status without what takes more than one look.
func (s *Service) figures(now time.Time) api.Status {
	st := api.Status{
		Node:        s.o.NodeName,
		Version:     s.o.Version,
		Phase:       s.phase(),
		Clustered:   s.clustered(),
		Snapshot:    s.o.SnapshotDir != "",
		Started:     s.started.UTC().Truncate(time.Millisecond),
		Uptime:      now.Sub(s.started).Round(time.Millisecond).Seconds(),
		Addresses:   s.Addrs(),
		Connections: int64(s.conns.count()),
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
	st.Cluster = &api.ClusterStatus{
		Expected: s.o.Cluster.ExpectMembers, Encrypted: c.Encrypted,
		Joined: c.Joined, Members: c.Members, Queries: c.Fetches,
		MovedIn: c.MovedIn, MovedOut: c.MovedOut, BytesIn: c.BytesIn, BytesOut: c.BytesOut,
		Conflicts: c.Conflicts, Fences: c.Fences, Waiting: c.Waiting, Arriving: c.Arriving, Leaving: c.Leaving, Copies: c.Copies,
		Events: latest(s.mesh.Events()),
	}
	st.Drain = s.drainStatus(c.Draining)
	return st
}

func (s *Service) drainStatus(draining bool) *api.Drain {
	err := s.drain.failed()
	if !draining && err == nil {
		return nil
	}
	p := s.mesh.Progress()
	d := &api.Drain{
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
func (s *Service) members() api.Members {
	all := []cluster.Member{{
		Name: s.o.NodeName, Self: true, State: s.phase(), Status: s.Addrs().Status, Version: s.o.Version, Started: s.started, Since: s.started,
	}}
	if s.clustered() && s.meshUp.Load() {
		all = s.mesh.Members()
	}
	doc := api.Members{Node: s.o.NodeName, Members: make([]api.Member, len(all))}
	for i := range all {
		doc.Members[i].Member = all[i]
	}
	return doc
}

// membersSaying are the members now, with what they have said of themselves by the last second.
func (s *Service) membersSaying() api.Members {
	doc := s.members()
	said := map[string]*api.Said{}
	for _, m := range s.sampler.Members().Members {
		said[m.ID] = m.Said
	}
	for i := range doc.Members {
		doc.Members[i].Said = said[doc.Members[i].ID]
	}
	return doc
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
	if s.nobodyTakes() {
		refuse(w, http.StatusConflict, cluster.ErrNobody.Error())
		return
	}
	select {
	case <-s.drain.begin():
	case <-time.After(drainEndsWithin):
	case <-r.Context().Done():
	}
	answer(w, http.StatusAccepted, s.status())
}

// nobodyTakes tells whether a drain would be in vain. Once begun it has /readyz turn web servers away for good, and goes on when somebody comes.
func (s *Service) nobodyTakes() bool {
	return s.store.Stats().Active > 0 && !slices.ContainsFunc(s.mesh.Members(), func(m cluster.Member) bool {
		return !m.Self && (m.State == "up" || m.State == "suspect")
	})
}

// drainEndsWithin is enough for a drain that has next to nothing to do, so that the answer says that it is done.
const drainEndsWithin = 100 * time.Millisecond

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

func answer(w http.ResponseWriter, status int, body any) { answerText(w, status, textOf(body)) }

// textOf is a document as it goes over the wire.
func textOf(doc any) []byte {
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil { // these types have nothing that cannot be written
		panic(err)
	}
	return append(text, '\n')
}

func answerText(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(text)
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, api.Problem{Problem: why})
}
