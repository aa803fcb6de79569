// Package reply has the answers that the proxy gives itself.
package reply

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// Reply is a response made by the proxy: an error to the layers that pass it on,
// a local reply to the client. Details is Envoy's RESPONSE_CODE_DETAILS.
type Reply struct {
	Status  int
	Flag    message.Flags
	Details string
	Body    string
	Header  message.Header
	// Reset ends the connection instead of answering.
	Reset bool
}

// Error implements error.
func (r *Reply) Error() string {
	return fmt.Sprintf("%d %s (%s): %s", r.Status, r.Flag, r.Details, r.Body)
}

// ForGRPC is the reply in gRPC's terms, as Envoy's local replies to gRPC clients: a 200
// whose head carries the status.
func (r *Reply) ForGRPC() *Reply {
	g := *r
	g.Status, g.Body, g.Header = 200, "", r.Header.Clone()
	g.Header.Set("content-type", "application/grpc")
	if !g.Header.Has("grpc-status") {
		g.Header.Set("grpc-status", strconv.Itoa(grpcStatus(r.Status)))
	}
	if r.Body != "" {
		g.Header.Set("grpc-message", r.Body)
	}
	return &g
}

// AnswersGRPC tells whether the reply is in gRPC's terms already.
func (r *Reply) AnswersGRPC() bool { return IsGRPC(r.Header) }

// IsGRPC tells whether a head's content is of gRPC.
func IsGRPC(h message.Header) bool {
	const grpc = "application/grpc"
	ct := h.Get("content-type")
	return strings.HasPrefix(ct, grpc) && (len(ct) == len(grpc) || ct[len(grpc)] == '+')
}

// grpcStatus maps HTTP to gRPC (gRPC's http-grpc-status-mapping.md).
func grpcStatus(status int) int {
	switch status {
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	default:
		return 2
	}
}
