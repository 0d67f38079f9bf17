//go:build race

package service_test

// underRace: the store keeps bodies in the Go heap, where the detector sees them.
const underRace = true
