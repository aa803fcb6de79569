// Package http2 is the HTTP/2 side of the proxy's codecs, both ways: bytes of a
// connection come in, messages go out, and the other way round. Framing and HPACK are
// golang.org/x/net/http2's; streams, flow control and the conversion of messages are
// here. It knows nothing of routing or pools; of ours it must import only message, snapshot and
// http1, whose BodyError both codecs share.
//
// A connection has two goroutines, one that reads frames and one that writes what is
// queued, and on the serving side one per stream. All of them have ended when Run
// returned, or when OnClose was called. Nothing is written under a lock, and fields are
// encoded in the order in which they came, so that the bytes of a connection depend on
// its messages only.
//
// Fields that belong to one hop of HTTP/1 (connection, keep-alive, proxy-connection,
// transfer-encoding, upgrade, te other than "trailers") are malformed in what is received
// (RFC 9113, 8.2.2) and never sent; host becomes :authority. An upgrade travels
// as an extended CONNECT (RFC 8441), and is an upgrade of HTTP/1 on either side of this
// package. Server push is refused.
package http2

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2"
)

// Preface is what a client's side of a connection begins with (RFC 9113, 3.4).
const Preface = http2.ClientPreface

// Protocol is HTTP/2's name in ALPN.
const Protocol = "h2"

// The errors of a stream whose connection ended.
var (
	// ErrGone is a connection that the peer closed or that broke.
	ErrGone = errors.New("http/2: the connection was closed by its peer")
	// ErrClosed is a connection that this side closed.
	ErrClosed = errors.New("http/2: the connection was closed")
)

// ResetError is a stream that was reset, by the peer or by this side.
type ResetError struct {
	Code   http2.ErrCode
	Remote bool
	Reason string // what this side found wrong
}

// Error implements error.
func (e *ResetError) Error() string {
	if e.Remote {
		return fmt.Sprintf("http/2: the stream was reset by its peer: %v", e.Code)
	}
	return fmt.Sprintf("http/2: the stream was reset: %v %s", e.Code, e.Reason)
}

// Refused tells whether the peer says that it has not processed the request at all
// (RFC 9113, 8.7), so that it may be sent again.
func (e *ResetError) Refused() bool { return e.Remote && e.Code == http2.ErrCodeRefusedStream }

// Malformed tells whether this side reset the stream because of what came on it.
func (e *ResetError) Malformed() bool {
	return !e.Remote && e.Code != http2.ErrCodeCancel && e.Code != http2.ErrCodeNo
}

// HeadError is a request head that the proxy answers itself, with Status.
type HeadError struct {
	Status  int
	Details string // Envoy's RESPONSE_CODE_DETAILS
}

// Error implements error.
func (e *HeadError) Error() string { return fmt.Sprintf("http/2: %s (%d)", e.Details, e.Status) }

// The windows that this side offers, in bytes. A stream's is given back as its content
// is read, the connection's as frames come: a stream that nobody reads stops itself only.
const (
	streamWindow     = 1 << 20
	connectionWindow = 16 << 20
	initialWindow    = 65535 // RFC 9113, 6.9.2
)

const (
	frameSize = 16 << 10  // the largest frame that is sent or accepted (RFC 9113, 4.2)
	roomBytes = 64 << 10  // streams wait while this much is queued
	maxQueued = 1 << 20   // frames are not read while this much is queued
	maxID     = 1<<31 - 1 // the last id of a stream
)
