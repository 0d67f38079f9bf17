// Package page is what operators see of a node in a browser: one page, live. It reads the documents of package api and writes HTML; what is
// wrong and what the figures are, others have found out.
//
// # One rendering for everybody
//
// The page is made of fragments: parts of it that have an id and a template of the same name (templates/ID.html). A frame is all of them,
// rendered at one moment, at most one a second and only when somebody looks:
//
//	Source's documents ──► view ──► fragments ──► frame ──┬──► GET /      all fragments, within templates/page.html
//	   (package api)     view.go    templates/   frame.go └──► GET /live  those that changed since the reader's last frame
//
// A reader of /live gets server-sent events, made once for all readers:
//
//	event: page    {"title": "…", "state": "safe", "layout": "…", "html": {"members": "<h2>…", …}}
//	event: chart   {"whole": true, "times": […], "series": {"requests": […], …}}      the first; later ones have the new points only
//
// No goroutine is started here. Each reader's request waits for the next full second, and who comes first renders for all (live.go).
//
// # Without scripts, and with them
//
// The page is complete as it arrives: charts are pictures in it (chart.go), what is long is folded into <details>, and the one thing that
// can be done, draining, is a form. assets/live.js then only keeps it fresh: it changes what differs, so that what is unfolded, selected or
// focused stays so, and puts charts by uPlot in place of the pictures.
//
// # What the browser may do
//
// Everything comes from the node, by addresses that change with their content (assets.go). The policy that is sent along allows nothing else:
// no script or style within the page, no other host, no frame around it. What is shown goes through html/template; there is no exception
// to its escaping, since names of members and applications come from the network.
package page
