// Package reply has the answers that the proxy gives itself.
package reply

import (
	"fmt"

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
