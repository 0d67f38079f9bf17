package handoff_test

import (
	"testing"
)

// TestBrokenRules_AreCaught takes the rules away one at a time: a simulation that could not show that they are missing would prove nothing. Two
// more, no-patience and anyone-pushes, are for mishaps too rare to wait for; story_test.go stages them, and no-farewell.
func TestBrokenRules_AreCaught(t *testing.T) {
	for _, tc := range []struct {
		rule    string
		profile string
		seeds   uint64 // within which it must be caught
	}{
		// Those that the promises rest on.
		{"serve-on-push", "heavy", 20},
		{"forget-before-ack", "calm", 5},
		{"timeout-is-nowhere", "cuts", 5},
		{"no-hints", "calm", 5},
		{"no-chase", "calm", 5},
		{"old-round", "heavy", 20},
		{"reset-cookie", "calm", 5},
		{"late-duplicates", "heavy", 20},
		// And others.
		{"no-priority", "net", 20},
		{"no-restart", "churn", 40},
		{"no-digest", "churn", 40},
		{"any-answer", "heavy", 40},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= tc.seeds; seed++ {
				w, bad := simulate(profileNamed(t, tc.profile), seed, tc.rule, nil)
				switch {
				case len(w.failures) > 0:
					t.Logf("caught by seed %d of %s: %s", seed, tc.profile, w.failures[0])
					return
				case len(bad) > 0:
					t.Logf("caught by seed %d of %s: no order explains the history of %s", seed, tc.profile, bad[0])
					return
				}
			}
			t.Errorf("not caught by %d seeds of %s", tc.seeds, tc.profile)
		})
	}
}

func profileNamed(t *testing.T, name string) profile {
	t.Helper()
	for _, p := range profiles {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("no profile %q", name)
	return profile{}
}
