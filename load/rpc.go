package load

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/windtunnel-mesh/windtunnel/load/services"
)

// rpc is the method of a gRPC call.
type rpc struct{ method protoreflect.MethodDescriptor }

// prepareRPC frames the messages of the body (gRPC over HTTP/2: a byte that says
// whether it is compressed, four of length, the message).
func (r *request) prepareRPC() error {
	method, err := services.Method(r.path)
	if err != nil {
		return fmt.Errorf("load: grpc: %w", err)
	}
	r.rpc = &rpc{method}
	values := json.NewDecoder(bytes.NewReader(r.target.Body))
	count := 0
	for ; ; count++ {
		var value json.RawMessage
		if err := values.Decode(&value); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("load: grpc: the body is no JSON: %w", err)
		}
		if err := r.addMessage(value); err != nil {
			return err
		}
	}
	if method.IsStreamingClient() {
		return nil
	}
	if count > 1 {
		return fmt.Errorf("load: grpc: %s takes one message, the body has %d", method.FullName(), count)
	}
	if count == 0 {
		return r.addMessage(json.RawMessage("{}"))
	}
	return nil
}

func (r *request) addMessage(value json.RawMessage) error {
	m := dynamicpb.NewMessage(r.rpc.method.Input())
	if err := protojson.Unmarshal(value, m); err != nil {
		return fmt.Errorf("load: grpc: the body is no %s: %w", r.rpc.method.Input().FullName(), err)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("load: grpc: %w", err)
	}
	r.messages = binary.BigEndian.AppendUint32(append(r.messages, 0), uint32(len(b)))
	r.messages = append(r.messages, b...)
	return nil
}

// text is the messages of an answer as JSON, one on a line; one that was cut off, where
// only the beginning of the answer was kept, is left out.
func (m *rpc) text(b []byte) ([]byte, error) {
	var lines []string
	for len(b) >= 5 {
		n := binary.BigEndian.Uint32(b[1:])
		if b[0] != 0 {
			return nil, errors.New("a compressed message, which was not asked for")
		}
		if b = b[5:]; uint64(n) > uint64(len(b)) {
			break
		}
		answer := dynamicpb.NewMessage(m.method.Output())
		if err := proto.Unmarshal(b[:n], answer); err != nil {
			return nil, fmt.Errorf("no %s: %w", m.method.Output().FullName(), err)
		}
		b = b[n:]
		line, err := protojson.Marshal(answer)
		if err != nil {
			return nil, err
		}
		var compact bytes.Buffer // protojson varies its spaces on purpose
		if err := json.Compact(&compact, line); err != nil {
			return nil, err
		}
		lines = append(lines, compact.String())
	}
	return []byte(strings.Join(lines, "\n")), nil
}
