package handoff

// broken takes single rules away, so that the tests can show that each is needed and would be missed. Nothing outside the tests of
// this package can set it.
type broken struct {
	serveOnPush      bool // the receiver owns a session when it is pushed, not when it is committed
	forgetBeforeAck  bool // the sender forgets it when it is pushed
	timeoutIsNowhere bool // a request that has waited too long is told Nowhere
	noHints          bool // nobody remembers where a session went
	noChase          bool // a hinted member is not asked again
	oldRound         bool // a round answers requests that came after it began
	resetCookie      bool // a move starts the lock's cookies anew
	lateDuplicates   bool // a push is taken whatever is known of its transfer and epoch

	noPriority   bool // creators do not defer to each other
	noRestart    bool // a round goes on when a member goes
	noDigest     bool // views need not agree
	anyonePushes bool // a push is taken from a node outside the view
	noPatience   bool // an aborted session is served at once
	noFarewell   bool // a node leaves before the others know whom it gave its sessions to
	anyAnswer    bool // an answer to an earlier question of the round will do after a hint
}
