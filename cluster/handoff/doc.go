// Package handoff is the rules by which the nodes of a cluster find each other's sessions and hand them over: where is it, and how does it
// get here?
//
// # One fetch
//
// A web server asks node a to lock session k, which node b has; c has nothing to do with it.
//
//	a                              b                              c
//	the store misses k
//	Want(acquire k)
//	  Find ──────────────────────▶ the store freezes k
//	  Find ─────────────────────────────────────────────────────▶ nothing here
//	         ◀────────────── Push  (k, epoch 8; b had it at 7)
//	         ◀───────────────────────────────────────────────── Reply: No
//	k has arrived, and is
//	not served yet
//	  Ack ───────────────────────▶ the store forgets k;
//	                               a note stays: k went to a, epoch 8
//	         ◀──────────── Commit
//	the store owns k
//	Answer(Here)                   (Commit again and again, until:)
//	  Confirm ───────────────────▶
//	the store locks k: the request is tried again, on this node alone
//	Finished
//
// Two round trips. Had nobody had k, both would have said No, and a would have known after one. Everything may be lost, doubled, late or out of
// order on the way, and is: whoever expects an answer says his sentence again, and every sentence can be heard twice.
//
// # What this package is
//
// A Machine is a node's part in it, without goroutines, clock, network or chance of its own: events go in with the time, actions come out. What
// production runs is what the simulator in the tests runs, over millions of faults. A request for a session that the node owns never comes
// near it.
//
//	request.go   web servers' requests that missed: Want, and how they end
//	round.go     asking everybody, and what may be concluded
//	asked.go     being asked
//	leaving.go   freeze, push, commit or abort
//	arriving.go  arrive, acknowledge, own; copies without an owner
//	members.go   who is there
//	drain.go     leaving the cluster
//	convoy.go    many small sessions at once, when leaving
//	conflict.go  two owners after a split; a node that was stopped
//	notes.go     what is remembered for a minute
//	sessions.go  what is asked of the store
//	message.go   what nodes say to each other
//
// ../DESIGN.md has the reasons, rule by rule, with the bug that each prevents.
//
// # Invariants
//
//  1. A session is served by one node at most. It is owned in one store, or frozen in one, or nowhere; a node that has received it does not serve
//     it before the sender has committed, and the sender has forgotten it by then. So the sender is never in doubt: until it commits, it may
//     abort.
//  2. A session's epoch rises with each owner and is used once. No node takes in what it knows a higher epoch for, or the same.
//  3. Whoever has handed a session over says where it went, for a minute, which is longer than any round.
//  4. Whoever does not know says nothing that could be taken for No.
//
// # Who may conclude what
//
// Here: whoever looks into its own store and finds it. That is done first for every request that comes, since the session may have come
// between the miss and the Want.
//
// Held: the asker, from the holder's word alone, for the requests that were waiting when the holder was asked. It is the lock as it is when
// the answer is given, never as it was when somebody began to wait for it.
//
// Nowhere: the asker, if every member of its view has said No, Gone or Hint to a question asked after the request came; if the member to whom
// the latest hint points has said so to a question asked after the hint was known, or is no member any more; if all views are the same; and
// if no member has come or gone since the first question. For suppose that the session existed all that time. Whoever owned it when the round
// began was asked later, and had it no more; so it gave it away in between, and says to whom, at what epoch. The member that the highest
// such hint names had it, or has it, and if not has given it on, at a higher epoch: which contradicts that this was the highest. Silence
// proves nothing, however long it lasts: it ends in Unknown.
//
// May create: a request that was told Nowhere, and has the key to itself until it has Finished. Meanwhile this node answers Defer to others
// who would create it, and takes no push for it. Of two that ask at the same time, the one that came earlier goes first, and the other asks
// it again. As each needs the other's word, they cannot miss each other.
//
// Adopt: whoever has a copy and nobody to say whose it is (its sender died between Ack and Commit; or it was owned by this node, which was
// stopped for too long, or met another owner), if every member has answered, in one view, and nobody owns it or knows a higher epoch.
// Otherwise it is dropped.
//
// Abort: the sender, alone. It serves the session again when the receiver has confirmed, or has refused, or is gone from the view, or cannot
// have received anything; or at last after AbortPatience.
//
// # What the driver owes
//
// The machine and the store run side by side: web servers' operations go on while the machine thinks. Therefore:
//
//   - Every way to miss a session ends in Want, and no operation creates one by itself. After Here the operation is tried again as
//     before, and may miss again. After Nowhere one that creates calls the store's create, with the answer's epoch and term, which creates only
//     if nothing is there; everything else is answered without looking again: it was true at some moment since the request came.
//   - Finished follows every Here, and every Nowhere of a request that creates, however it went. Until then others' questions wait: those who
//     fetched the session are served before it is fetched away from them, but no longer than ServeGrace.
//   - Removed follows every removal. It may come a little late: Gone is also known from the note that the session had come.
//   - Left follows every Leave that had to wait, also when the session goes elsewhere (NotHere).
//   - Fence is called when the process finds that it did not run for longer than others wait before they take a member for dead, and before
//     anything else: before an operation's answer is written, too.
//   - Undelivered may follow a Push for which there was no connection: it saves the sender its patience. Reconcile asks for an exchange of
//     members with one whose view differs; until the views are the same nothing can be concluded to be nowhere.
//   - Messages from a node go to Receive with the name that its connection has proven. Sessions leave only for members, at the
//     address that membership has.
//
// # What is promised
//
// Without faults, under loss, doubling, delay and reordering, with links cut one way or both, with members joining and leaving in any
// order: each session's history is linearizable, nothing is lost, and nothing that exists is answered Nowhere. When a member crashes, what
// it owned or was just receiving is gone, and nothing else. A single node that was stopped and goes on finds its sessions again, or finds
// that they were made anew meanwhile; others miss them as long as they take it for dead. After a split each side has gone on by itself; of
// two sessions under one key one remains, the one with the higher epoch, and the other is counted. It is assumed that the news of a
// member's joining travels faster than that of a death (tenths of a second against seconds), and that no message is older than NoteLife.
package handoff
