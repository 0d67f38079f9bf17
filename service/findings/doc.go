// Package findings says in plain words what is wrong with a farm, and how to mend it: to somebody who knows IIS, not this program.
//
// It is given facts, those of this node and what the other members say of themselves, and has none of its own: no clock, no connection, no goroutine.
// What it remembers is since when something is wrong.
//
//	Kind               is found when                                                              file
//	application-ids    the same application arrives under several application ids                 applications.go, applications_text.go
//	memory             a node's memory for sessions is nearly full, or it refuses sessions        memory.go
//	long-lock          a session has been locked for longer than a page may run                   locks.go
//	unreachable        a member takes part in gossip, but its transfer port cannot be reached     members.go
//	split              live members do not see one another                                        members.go
//	missing-members    there are fewer members than there are to be                               members.go
//	member-failed      a member does not answer any more, and how many are to be is not said      members.go
//	versions           members of different versions                                              members.go
//	clocks             members' clocks are apart                                                  clocks.go
//	no-key             what members say to each other is not encrypted                            members.go
//	bouncing           a session moves to and fro                                                 bouncing.go
//
// A finding must not come and go. A figure that wavers has two thresholds, one to be found at and one to be done with; what is normal for a moment,
// while a member joins, has to last; and what is seen only now and then is kept for a while. Find does all three.
//
// It must not cry wolf either: an operator who has read a false alarm twice does not read the third. So the rules of applications.go look at which web
// servers use an id before they conclude anything from its spelling.
package findings
