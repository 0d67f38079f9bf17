package wire

import "bytes"

// Op is what a request asks for: the verb with the Exclusive header folded in ([MS-ASP] 3.1.5).
type Op uint8

const (
	OpGet              Op = iota + 1 // GET: read
	OpGetExclusive                   // GET, Exclusive: acquire. Read and lock
	OpReleaseExclusive               // GET, Exclusive: release. Unlock
	OpSet                            // PUT: write, and unlock
	OpRemove                         // DELETE
	OpResetTimeout                   // HEAD: keep alive, nothing else
)

// String names o for logs, metrics and test failures.
func (o Op) String() string {
	switch o {
	case OpGet:
		return "get"
	case OpGetExclusive:
		return "get-exclusive"
	case OpReleaseExclusive:
		return "release-exclusive"
	case OpSet:
		return "set"
	case OpRemove:
		return "remove"
	case OpResetTimeout:
		return "reset-timeout"
	}
	return "unknown"
}

// Cookie values that are not cookies.
const (
	NoCookie      int32 = -1 // no LockCookie header
	InvalidCookie int32 = -2 // a LockCookie header that is no int32 >= 0
)

// Minutes, from StateRuntime.cs: FinishPut's default, and 365 days, the most that ASP.NET's cache keeps anything.
const (
	defaultTimeout = 20
	maxTimeout     = 525600
)

// uninitialised is bit 0 of ExtraFlags (SessionStateItemFlags in ISessionStateStore.cs). No other bit means anything
// to a state server.
const uninitialised = 1

// Request is one parsed request head. It holds no bytes of the buffer that it was parsed from.
type Request struct {
	// Op is set unless Refused is: what is refused cannot be done by mistake.
	Op  Op
	Key []byte // DecodeKey of the target, never empty; valid until the parser's next call
	// ContentLength is the number of body bytes that follow the head. Any verb may have some. It is not above the parser's limit unless
	// the request is Refused.
	ContentLength int
	// Cookie is the LockCookie header: >= 0, NoCookie or InvalidCookie. It is reported for every verb and never
	// refused here: whether anybody looks at it depends on what the store holds.
	Cookie        int32
	Timeout       int32 // OpSet: minutes, 0..525600; 20 if absent
	Uninitialised bool  // OpSet: ExtraFlags bit 0, "insert if absent, else do nothing"
	Close         bool  // answer, then close: HTTP/1.0 or Connection: close
	// Refused, when not empty: the head is framed well but asks for something that must be answered 400 once
	// its body has been read and dropped; the connection goes on.
	Refused Refusal
}

// Limits bound what a web server may send. A field that is not positive means its default.
type Limits struct {
	MaxHead int // bytes of a request's head, final empty line included. Default 16 KiB
	MaxBody int // bytes of a request's body. Default 64 MiB; above 2^31-1 there is no Content-Length
}

// Bounds that no setting moves. The requests of real web servers have a line of about 120 bytes and five headers;
// p2pStateServer allows 2 KiB and 40 lines; what Microsoft's server allows is unknown.
const (
	MaxLine       = 8 << 10 // bytes of one line, line end included
	MaxHeaders    = 64      // header lines of one request
	maxEmptyLines = 8       // before a request line
)

// Parser reads request heads from one connection's bytes. It costs no memory per request: the one thing it keeps is
// the decoded key, in buffers that it reuses. Not for concurrent use.
type Parser struct {
	limits Limits
	key    keyDecoder
	head   head
}

// head is a request head half read. It holds offsets and values, never slices: the caller's buffer may move between
// two calls.
type head struct {
	line    int // where the first line that has not been read begins
	scanned int // from line up to here there is no line end

	emptyLines int
	headers    int

	op            Op // of the verb alone; 0 until the request line has been read
	close         bool
	conflict      bool // a header came twice with differing values
	exclusive     exclusive
	timeout       number
	extraFlags    number
	lockCookie    number
	contentLength number
}

// NewParser returns a parser for one connection.
func NewParser(l Limits) *Parser {
	if l.MaxHead <= 0 {
		l.MaxHead = 16 << 10
	}
	if l.MaxBody <= 0 {
		l.MaxBody = 64 << 20
	}
	return &Parser{limits: l}
}

// Parse looks for one request head at the start of buf, which holds what has arrived and not been consumed.
//   - n > 0: the head was buf[:n] and is in req; req.ContentLength bytes of body follow it.
//   - n == 0, err == nil: the head is not complete; call again with the same bytes and more behind them. Bytes already
//     looked at are not scanned again.
//   - err (a Refusal): where this request ends is in doubt: answer 400 and close.
//
// Unless n > 0, req is left as it was. What is said of a request does not depend on how its bytes were split.
func (p *Parser) Parse(buf []byte, req *Request) (n int, err error) {
	if len(buf) < p.head.scanned {
		p.head = head{} // not the bytes of the last call: begin anew rather than read out of bounds
	}
	n, err = p.parse(buf, req)
	if n > 0 || err != nil {
		p.head = head{}
	}
	return n, err
}

// parse reads line after line until the head is complete, wrong, or out of bytes.
func (p *Parser) parse(buf []byte, req *Request) (int, error) {
	h := &p.head
	for {
		line, ok, err := h.nextLine(buf, p.limits.MaxHead)
		if !ok {
			return 0, err
		}
		switch {
		case len(line) == 0 && h.op == 0:
			err = h.emptyLine()
		case len(line) == 0:
			return p.finish(req)
		case h.op == 0:
			err = p.requestLine(line)
		default:
			err = h.headerLine(line)
		}
		if err != nil {
			return 0, err
		}
	}
}

// nextLine returns the next line without its line end, CRLF or a bare LF; ok is false if it has not arrived whole.
//
// It never looks behind the smaller of the two limits. So which limit is reported, and whether, is the same for a line
// that arrives at once and for one that arrives in pieces.
func (h *head) nextLine(buf []byte, maxHead int) (line []byte, ok bool, err error) {
	limit := min(h.line+MaxLine, maxHead)
	end := min(len(buf), limit)
	i := bytes.IndexByte(buf[h.scanned:end], '\n')
	if i < 0 {
		h.scanned = end
		switch {
		case end < limit:
			return nil, false, nil
		case limit == maxHead:
			return nil, false, ErrHeadTooLong
		default:
			return nil, false, ErrLineTooLong
		}
	}
	lf := h.scanned + i
	line = buf[h.line:lf]
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	h.line, h.scanned = lf+1, lf+1
	return line, true, nil
}

// emptyLine is one in front of a request line. A few are forgiven, as HTTP advises (RFC 9112 2.2).
func (h *head) emptyLine() error {
	h.emptyLines++
	if h.emptyLines > maxEmptyLines {
		return ErrEmptyLines
	}
	return nil
}

// requestLine reads
//
//	VERB SP target [SP "HTTP/1.0" | SP "HTTP/1.1"]
//
// The target is all that is left between the two: .NET 1.x sends it unencoded, inner spaces included.
func (p *Parser) requestLine(line []byte) error {
	if hasControl(line) {
		return ErrControlByte
	}
	line, http10 := bytes.CutSuffix(line, []byte(" HTTP/1.0"))
	if !http10 {
		line, _ = bytes.CutSuffix(line, []byte(" HTTP/1.1"))
	}
	verb, target, _ := bytes.Cut(line, []byte(" "))
	op := opOf(verb)
	switch {
	case op == 0:
		return ErrVerb
	case len(target) == 0:
		return ErrNoTarget
	}
	p.head.op = op
	p.head.close = http10
	p.key.decode(target)
	return nil
}

func opOf(verb []byte) Op {
	switch {
	case equalFold(verb, "get"):
		return OpGet
	case equalFold(verb, "put"):
		return OpSet
	case equalFold(verb, "head"):
		return OpResetTimeout
	case equalFold(verb, "delete"):
		return OpRemove
	}
	return 0
}

// headerLine reads "Name: value", blanks around both allowed and none needed: web servers send "Timeout:20".
func (h *head) headerLine(line []byte) error {
	h.headers++
	if h.headers > MaxHeaders {
		return ErrTooManyHeaders
	}
	if isBlank(line[0]) {
		return ErrFolded
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return ErrNoColon
	}
	name, value = trimBlanks(name), trimBlanks(value)
	if hasControl(name) || hasControlButTab(value) {
		return ErrControlByte
	}
	return h.header(name, value)
}

// header takes in one header. Those that change where the request ends are judged at once; the others when the head
// is complete, for what they mean depends on the verb and on each other.
func (h *head) header(name, value []byte) error {
	switch headerOf(name) {
	case headerExclusive:
		x := parseExclusive(value)
		h.conflict = h.conflict || h.exclusive != exclusiveAbsent && h.exclusive != x
		h.exclusive = x
	case headerTimeout:
		h.setNumber(&h.timeout, value)
	case headerExtraFlags:
		h.setNumber(&h.extraFlags, value)
	case headerLockCookie:
		h.setNumber(&h.lockCookie, value)
	case headerConnection:
		h.close = h.close || listHasClose(value)
	case headerTransferEncoding:
		return ErrTransferEncoding
	case headerContentLength:
		return h.setContentLength(value)
	}
	return nil
}

// setNumber keeps a header's number. The same number again is harmless however it is spelled; another is a conflict.
func (h *head) setNumber(field *number, value []byte) {
	n := parseNumber(value)
	h.conflict = h.conflict || field.present && *field != n
	*field = n
}

func (h *head) setContentLength(value []byte) error {
	n := parseNumber(value)
	switch {
	case n.malformed() || n.value < 0:
		return ErrContentLength
	case h.contentLength.present && h.contentLength != n:
		return ErrContentLengths
	}
	h.contentLength = n
	return nil
}

// finish turns a complete head into a request.
func (p *Parser) finish(req *Request) (int, error) {
	h := &p.head
	if h.op == OpSet && !h.contentLength.present {
		return 0, ErrNoContentLength
	}
	*req = Request{
		Key:           p.key.key,
		ContentLength: int(h.contentLength.value),
		Cookie:        h.cookie(),
		Close:         h.close,
	}
	switch {
	case h.conflict:
		req.Refused = RefusedConflict
	case int64(h.contentLength.value) > int64(p.limits.MaxBody):
		// Not before the body has been read: a web server sends all of it before it reads an answer.
		req.Refused = RefusedBodyTooLarge
	case h.op == OpGet:
		h.get(req)
	case h.op == OpSet:
		h.set(req)
	default:
		req.Op = h.op
	}
	return h.line, nil
}

// get folds Exclusive into the verb. A value that nobody knows is refused: taking it for a plain read would hand out
// data without the lock that was asked for.
func (h *head) get(req *Request) {
	switch h.exclusive {
	case exclusiveAbsent:
		req.Op = OpGet
	case exclusiveAcquire:
		req.Op = OpGetExclusive
	case exclusiveRelease:
		req.Op = OpReleaseExclusive
	default:
		req.Refused = RefusedExclusive
	}
}

// set judges a PUT in the order of FinishPut in StateRuntime.cs: the body, Timeout, ExtraFlags; all three before the
// session is looked up, so that a PUT refused here does not keep its session alive.
//
// An empty body is refused for what it would do later: a web server takes a 200 without a body for "no such session"
// (DoGet in OutOfProcStateClientManager.cs), though its acquire has just locked it.
func (h *head) set(req *Request) {
	timeout := int32(defaultTimeout)
	if h.timeout.present {
		timeout = h.timeout.value
	}
	switch {
	case h.contentLength.value == 0:
		req.Refused = RefusedNoBody
	case h.timeout.malformed() || timeout < 0 || timeout > maxTimeout:
		req.Refused = RefusedTimeout
	case h.extraFlags.malformed():
		req.Refused = RefusedExtraFlags
	default:
		req.Op = OpSet
		req.Timeout = timeout
		// StateWorkerRequest.cs hands -1 on as "absent": it must not be taken for "every bit set".
		req.Uninitialised = h.extraFlags.value != -1 && h.extraFlags.value&uninitialised != 0
	}
}

func (h *head) cookie() int32 {
	switch {
	case !h.lockCookie.present:
		return NoCookie
	case h.lockCookie.malformed() || h.lockCookie.value < 0:
		return InvalidCookie
	}
	return h.lockCookie.value
}
