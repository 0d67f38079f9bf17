package cluster

import "time"

// Report is what another member last said of itself.
type Report struct {
	ID   string    `json:"id"` // as Member.ID
	Name string    `json:"name"`
	At   time.Time `json:"at"`   // when it arrived here
	Body []byte    `json:"body"` // what its Options.Report returned. Not to be changed
}

// Reports are what the live members have said of themselves, by ID; of one that has not said anything yet there is none.
func (n *Node) Reports() map[string]Report { return map[string]Report{} }
