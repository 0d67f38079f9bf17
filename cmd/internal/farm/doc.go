// Package farm runs nodes of statemesh as processes, sends users to them, and judges what the users see.
//
// A [Node] is one process, started from the built binary: it can be asked to end, killed, stopped in its tracks and let go on, and
// started again at the same addresses. A [Cluster] is several with one key file and a shape of seed lists. Each node has an address of
// its own within 127.0.0.0/8 and the usual ports there, so that seed lists can be written before anything runs, and a node that is
// started again finds its ports free.
//
// A [Crowd] is users whose requests go through the nodes as a load balancer without any idea of stickiness would send them: each
// request to some node. It judges by what its users have been told, and by nothing else:
//
//	answered 200       a write is the session's content from then on, until the next
//	not answered       a write may have happened, or may yet: connections break, nodes are killed   (history.maybe)
//	killed             sessions whose last word came through that node may be gone, others not      (Crowd.Doom)
//
//	404 for a session that must exist, an older body than the one last acknowledged, a write refused to the holder of the lock, two
//	holders at once, a status that web servers do not know, a lock that nobody has: a fault     (history.go)
//
// Package bench plays a web farm too, to measure; this one is slow and forgiving where a fault of the network excuses the service, so
// that nothing else is. Nothing of what the server is built from is used here.
package farm
