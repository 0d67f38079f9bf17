package service

import (
	"os"

	"golang.org/x/sys/windows"
)

// ownNames are what this machine calls itself: by its short name, and by the full one that it has in its domain.
func ownNames() (names []string) {
	if name, err := os.Hostname(); err == nil && name != "" {
		names = append(names, name)
	}
	var full [256]uint16
	n := uint32(len(full))
	if windows.GetComputerNameEx(windows.ComputerNamePhysicalDnsFullyQualified, &full[0], &n) == nil && n > 0 {
		names = append(names, windows.UTF16ToString(full[:]))
	}
	return names
}
