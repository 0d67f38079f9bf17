// Package link carries messages between this node and the others.
package link
