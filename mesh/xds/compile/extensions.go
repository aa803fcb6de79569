package compile

// The extensions that resources may name have to be linked for their types to
// resolve; those that no code here mentions are imported for that alone.
import (
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
)
