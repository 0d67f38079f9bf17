package cluster

import "statemesh/cluster/internal/keys"

// NewKey makes a key for a cluster's key file.
func NewKey() string { return keys.Generate() }
