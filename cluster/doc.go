// Package cluster is this node's part in the mesh: where is a session, and how does it get here?
package cluster
