//go:build !windows

package service

import "os"

// ownNames are what this machine calls itself.
func ownNames() []string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return nil
	}
	return []string{name}
}
