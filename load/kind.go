package load

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
)

// The kinds of errors that a call without an answer may have.
const (
	KindTimeout     = "timeout"     // the client's patience was over
	KindDNS         = "dns"         // the host has no address
	KindRefused     = "refused"     // nobody listens there
	KindUnreachable = "unreachable" // no way leads there
	KindTLS         = "tls"         // the handshake failed
	KindReset       = "reset"       // the connection was broken off
	KindClosed      = "closed"      // it ended in good order, but before the answer did
	KindStopped     = "stopped"     // the load itself was
	KindProtocol    = "protocol"    // what came is no answer
)

// Kinds are all of them.
func Kinds() []string {
	return []string{KindTimeout, KindDNS, KindRefused, KindUnreachable, KindTLS, KindReset, KindClosed, KindStopped, KindProtocol}
}

// kindOf sorts an error; what is closest to the cause decides.
func kindOf(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, errTimeout):
		return KindTimeout
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return KindStopped
	case errors.As(err, &dns):
		return KindDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return KindRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ETIMEDOUT):
		return KindUnreachable
	case errors.Is(err, errTLS):
		return KindTLS
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return KindReset
	case errors.Is(err, errNoByte), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return KindClosed
	default:
		return KindProtocol
	}
}
