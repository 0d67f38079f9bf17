package wire

// Refusal says why a request is answered 400. It is constant text: no bytes of the request, so it can be logged and
// used as a metric's label.
type Refusal string

// Error returns the text.
func (r Refusal) Error() string { return string(r) }

// What Parse returns as its error: after these nobody knows where the next request begins.
const (
	ErrEmptyLines       Refusal = "too many empty lines before the request line"
	ErrLineTooLong      Refusal = "line too long"
	ErrHeadTooLong      Refusal = "head too long"
	ErrTooManyHeaders   Refusal = "too many headers"
	ErrControlByte      Refusal = "control byte in the head"
	ErrVerb             Refusal = "unknown verb"
	ErrNoTarget         Refusal = "no target"
	ErrFolded           Refusal = "header line begins with a blank"
	ErrNoColon          Refusal = "header line without a colon"
	ErrTransferEncoding Refusal = "Transfer-Encoding is not spoken here"
	ErrContentLength    Refusal = "Content-Length is no number of bytes"
	ErrContentLengths   Refusal = "Content-Length given twice, differing"
	ErrNoContentLength  Refusal = "PUT without Content-Length"
)

// What Request.Refused can be: the request makes no sense, but where it ends is clear.
const (
	RefusedConflict     Refusal = "header given twice, differing"
	RefusedBodyTooLarge Refusal = "body too large"
	RefusedExclusive    Refusal = "Exclusive is neither acquire nor release"
	RefusedNoBody       Refusal = "PUT with an empty body"
	RefusedTimeout      Refusal = "Timeout is no number of minutes from 0 to 525600"
	RefusedExtraFlags   Refusal = "ExtraFlags is no number"
)
