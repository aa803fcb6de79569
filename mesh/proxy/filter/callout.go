package filter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Caller sends requests of the proxy's own.
type Caller interface {
	// Call sends a request to a cluster and returns the answer. It waits no longer than
	// timeout, 0 being forever. The key is what draws about the request are made from.
	Call(ctx context.Context, cluster string, r *message.Request, key uint64, timeout time.Duration) (*message.Response, error)
}

// maxAnswer bounds the answers to the proxy's own requests.
const maxAnswer = 4 << 20

// callGRPC makes a unary call: a message framed by gRPC's rules goes out, one comes back.
func callGRPC(ctx context.Context, c Caller, s *snapshot.GRPCService, method string, body []byte, key uint64, timeout time.Duration) ([]byte, error) {
	framed := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	framed = append(framed, body...)
	authority := s.Authority
	if authority == "" {
		authority = s.Cluster
	}
	r := &message.Request{Method: "POST", Scheme: "http", Authority: authority, Path: method, Protocol: message.HTTP2,
		Header: message.Header{{Name: "te", Value: "trailers"}, {Name: "content-type", Value: "application/grpc"}},
		Body:   message.NewBytes(framed, nil), ContentLength: int64(len(framed))}
	if timeout > 0 {
		r.Header.Add("grpc-timeout", fmt.Sprintf("%dm", timeout.Milliseconds()))
	}
	for _, h := range s.Metadata {
		r.Header.Add(h.Key, h.Value)
	}
	p, err := c.Call(ctx, s.Cluster, r, key, timeout)
	if err != nil {
		return nil, err
	}
	content, trailer, err := readAll(p)
	if err != nil {
		return nil, err
	}
	status := trailer.Get("grpc-status")
	if p.Body == nil || status == "" {
		status = p.Header.Get("grpc-status") + status
	}
	switch {
	case p.Status != 200:
		return nil, fmt.Errorf("%s: answered %d", method, p.Status)
	case status != "0":
		return nil, fmt.Errorf("%s: gRPC status %q", method, status)
	case len(content) < 5 || content[0] != 0 || int(binary.BigEndian.Uint32(content[1:])) != len(content)-5:
		return nil, fmt.Errorf("%s: the answer is not one plain message", method)
	}
	return content[5:], nil
}

// readAll reads an answer to its end.
func readAll(p *message.Response) ([]byte, message.Header, error) {
	if p.Body == nil {
		return nil, nil, nil
	}
	content, err := io.ReadAll(io.LimitReader(p.Body, maxAnswer+1))
	trailer := p.Body.Trailer()
	_ = p.Body.Close()
	if err == nil && len(content) > maxAnswer {
		err = errors.New("the answer is too long")
	}
	return content, trailer, err
}

// eachField calls f for the fields of a protobuf message, with their bytes or number.
func eachField(b []byte, f func(n protowire.Number, bytes []byte, number uint64) error) error {
	for len(b) > 0 {
		n, typ, used := protowire.ConsumeTag(b)
		if used < 0 {
			return protowire.ParseError(used)
		}
		b = b[used:]
		var bytes []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			bytes, used = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, used = protowire.ConsumeVarint(b)
		default:
			used = protowire.ConsumeFieldValue(n, typ, b)
		}
		if used < 0 {
			return protowire.ParseError(used)
		}
		b = b[used:]
		if err := f(n, bytes, number); err != nil {
			return err
		}
	}
	return nil
}

// putString appends a string field, unless it is empty.
func putString(b []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

// putMessage appends a message field.
func putMessage(b []byte, n protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), m)
}
