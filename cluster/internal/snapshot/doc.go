// Package snapshot keeps sessions in a file from one run of a node to the next, for the last node of a cluster that stops.
//
// # The life of a file
//
//	(none) ──Create──▶ *.tmp ──Commit──▶ sessions.snapshot ──Consume──▶ *.adopting ──Done──▶ (none)
//	                     └───Abort──▶ (none)      │
//	                                              └─ cannot be read, and another is written: *.unread-DATE
//
// Each arrow is one rename in one folder, and each is on disk before what relies on it is done: the contents before the file gets its name, the name
// before Commit returns, the other name before the first session is served. So whenever the machine stops, the next start finds a whole snapshot
// or none, and never one whose sessions have been served since: those would come back with what their users had undone. What a killed
// process left half-way, *.tmp and *.adopting, is removed by the next Use of the folder.
//
// A file that cannot be read (damaged, or of another key) is left alone, and moved aside when there is another to be written: a node that was
// started with the wrong key, and stopped again to be given the right one, must not overwrite the sessions that it could not read.
//
// # The file
//
//	16B "statemesh-snap␊" and the version, 1
//	32B salt, random
//	16B check: tells which secret the file was written with
//	chunks of 64 KiB + 16B, the last one shorter or not
//
// Key and check are HKDF-SHA256 of secret and salt. Chunks are AES-256-GCM, with the three fields above as additional data, and the nonce
//
//	11B number of the chunk, big endian | 1B 1 for the last chunk, else 0
//
// so that none can be left out, doubled, or moved, and the end cannot come early (the STREAM construction). The numbers of the contents
// are big endian, too:
//
//	8B time of writing, in µs since 1970, by the wall clock
//	records:
//	  2B length of the record's head behind this; bytes beyond those known are ignored, so that fields can be appended
//	  1B flags: 1 locked, 2 new
//	  4B cookie
//	  4B timeout, minutes
//	  8B epoch
//	  8B age of the lock, ns
//	  8B time left, ns
//	  8B when: ns since the time of writing
//	  4B length of the key
//	  4B length of the body
//	     key
//	     body
//
// The time while no node ran counts: locks are older by it, and time left is less, by the wall clock. If the clock was set back meanwhile, none has
// passed.
//
// Who can write to the folder can put an old file back. Only something outside the machine could know.
package snapshot
