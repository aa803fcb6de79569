// Package http1 is the HTTP/1.1 codec of both sides: bytes of a connection come
// in, messages go out, and the other way round. It knows nothing of routing,
// timeouts or pools; it must not import anything of ours but message.
//
// It is strict where laxness lets one proxy read two messages and the next one
// three (RFC 9112, sections 2.2, 3, 5, 6, 7 and 11.2): lines end in CRLF, a message
// has one way to find its end, names are tokens, nothing is folded.
//
// A Reader leaves the fields that belong to one hop out of the header (host goes to
// Authority; connection and what it names, keep-alive, proxy-connection,
// transfer-encoding, upgrade, te other than "trailers"), a Writer makes them anew from
// the message, so a field that some layer adds can never contradict the framing.
// content-length stays in the header, where routes may match it, and is never
// written from there: Request.ContentLength and Body decide.
package http1

import (
	"errors"
	"fmt"
)

// ProtocolError is a message that breaks the protocol or a limit. As a server
// answer Status and close; as a client give the connection up.
type ProtocolError struct {
	Status  int    // 400, 414, 431, 501, 505; 426 for versions before 1.0
	Details string // Envoy's RESPONSE_CODE_DETAILS
	Reason  string // what exactly is wrong, for people
}

// Error implements error.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("http/1: %s (%d, %s)", e.Reason, e.Status, e.Details)
}

// Envoy's details of a broken HTTP/1 message.
const (
	detailsCodec             = "http1.codec_error"
	detailsCharacters        = "http1.invalid_characters"
	detailsHeadTooLarge      = "http1.headers_too_large"
	detailsTooManyFields     = "http1.too_many_headers"
	detailsURL               = "http1.invalid_url"
	detailsScheme            = "http1.invalid_scheme"
	detailsTransferEncoding  = "http1.invalid_transfer_encoding"
	detailsEncodingForbidden = "http1.transfer_encoding_not_allowed"
	detailsLengthForbidden   = "http1.content_length_not_allowed"
	detailsChunkedLength     = "http1.content_length_and_chunked_not_allowed"
	detailsConnection        = "http1.connection_header_rejected"
	detailsHost              = "missing_host_header"
)

func malformed(details, reason string) error {
	return &ProtocolError{Status: 400, Details: details, Reason: reason}
}

// ErrPreface is HTTP/2's connection preface where a request was expected.
var ErrPreface = errors.New("http/1: the connection speaks HTTP/2 (prior knowledge)")

// ErrBusy is a message asked for before the one before it was read to its end.
var ErrBusy = errors.New("http/1: the message before was not read to its end")

// BodyError wraps what a message's own body said when it was written, to tell it
// from an error of the connection that it was written to.
type BodyError struct{ Err error }

// Error implements error.
func (e *BodyError) Error() string { return "reading the body to send: " + e.Err.Error() }

// Unwrap gives the body's error.
func (e *BodyError) Unwrap() error { return e.Err }

// Limits bound what one head may take. The zero value of a field is its default.
type Limits struct {
	HeadBytes int // request line, fields and line ends; default 60 KiB
	Fields    int // default 100
}

const (
	defaultHeadBytes = 60 << 10
	defaultFields    = 100
	bufferSize       = 4 << 10
)

func (l Limits) headBytes() int {
	if l.HeadBytes > 0 {
		return l.HeadBytes
	}
	return defaultHeadBytes
}

func (l Limits) fields() int {
	if l.Fields > 0 {
		return l.Fields
	}
	return defaultFields
}
