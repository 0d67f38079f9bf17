//go:build linux

// Package browser tries the status page in a real browser, headless Chromium: on made-up nodes in every state (states_test.go), where the page is
// also judged by axe-core and by the W3C's checker, and on clusters of the built binary under load, to which things happen (cluster_test.go).
//
// Chromium comes from Debian (chromium-headless-shell or chromium; STATEMESH_CHROMIUM names another), the judges from npm (npm_test.go). Where one
// is not to be had its tests are skipped, and say so; in CI they fail. With -shots FOLDER pictures are made of everything that is seen.
package browser
