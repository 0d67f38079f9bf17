//go:build race

package session_test

// raceDetector makes everything about ten times slower.
const raceDetector = true
