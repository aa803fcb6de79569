package filter

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// checkMethod is the method of envoy/service/auth/v3/external_auth.proto, whose
// messages are written and read here field by field.
const checkMethod = "/envoy.service.auth.v3.Authorization/Check"

func (a *authorizer) askGRPC(ctx context.Context, x *Exchange, body []byte, partial bool) (*permission, error) {
	s := x.Request.Stream
	attributes := putMessage(nil, 1, peerOf(s.Conn, cmp.Or(s.Remote, s.Conn.Remote), false))
	attributes = putMessage(attributes, 2, peerOf(s.Conn, s.Conn.Local, true))
	attributes = putMessage(attributes, 4, a.requestOf(x, body, partial))
	answer, err := callGRPC(ctx, a.caller, a.config.GRPC, checkMethod, putMessage(nil, 1, attributes), x.Key, a.config.Timeout)
	if err != nil {
		return nil, err
	}
	return readCheck(answer)
}

// peerOf writes an AttributeContext.Peer: the address and the certificate's first name.
func peerOf(c *message.Conn, at netip.AddrPort, local bool) []byte {
	address := putString(nil, 2, at.Addr().Unmap().String())
	address = putNumber(address, 3, uint64(at.Port()))
	peer := putMessage(nil, 1, putMessage(nil, 1, address))
	if c.TLS != nil {
		names := c.TLS.PeerURIs
		if local {
			names = c.TLS.LocalURIs
		}
		if len(names) > 0 {
			peer = putString(peer, 4, names[0])
		}
	}
	return peer
}

// requestOf writes an AttributeContext.Request.
func (a *authorizer) requestOf(x *Exchange, body []byte, partial bool) []byte {
	r := x.Request
	headers := map[string]string{}
	add := func(name, value string) {
		if a.config.Headers != nil && !matches(a.config.Headers, name) {
			return
		}
		if have, ok := headers[name]; ok {
			value = have + "," + value
		}
		headers[name] = value
	}
	for _, f := range []message.Field{{Name: ":authority", Value: r.Authority}, {Name: ":method", Value: r.Method}, {Name: ":path", Value: r.Path}, {Name: ":scheme", Value: r.Scheme}} {
		add(f.Name, f.Value)
	}
	for _, f := range r.Header {
		add(f.Name, f.Value)
	}
	if a.config.Body != nil {
		headers["x-envoy-auth-partial-body"] = yesNo(partial)
	}
	h := putString(nil, 1, r.Header.Get("x-request-id"))
	h = putString(h, 2, r.Method)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		h = putMessage(h, 3, putString(putString(nil, 1, name), 2, headers[name]))
	}
	h = putString(h, 4, r.Path)
	h = putString(h, 5, r.Authority)
	h = putString(h, 6, r.Scheme)
	size := r.ContentLength
	if r.Body == nil {
		size = 0
	}
	h = putNumber(h, 9, uint64(size)) // -1 where it is not known
	h = putString(h, 10, protocolName(r.Protocol))
	switch {
	case len(body) == 0:
	case a.config.Body.Bytes:
		h = putMessage(h, 12, body)
	case utf8.Valid(body):
		h = putString(h, 11, string(body))
	default:
		h = putString(h, 11, strings.ToValidUTF8(string(body), "!"))
	}
	start := x.Request.Stream.Start
	when := putNumber(putNumber(nil, 1, uint64(start.Unix())), 2, uint64(start.Nanosecond()))
	return putMessage(putMessage(nil, 1, when), 2, h)
}

// protocolName is Envoy's.
func protocolName(p message.Protocol) string { return p.String() }

func putNumber(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// readCheck reads a CheckResponse. A denial without a status is a 403.
func readCheck(m []byte) (*permission, error) {
	p := &permission{allowed: true, status: 403}
	err := eachField(m, func(n protowire.Number, bytes []byte, _ uint64) error {
		switch n {
		case 1: // google.rpc.Status
			return eachField(bytes, func(n protowire.Number, _ []byte, number uint64) error {
				if n == 1 && number != 0 {
					p.allowed = false
				}
				return nil
			})
		case 2:
			return p.readDenied(bytes)
		case 3:
			return p.readOK(bytes)
		}
		return nil
	})
	return p, err
}

func (p *permission) readDenied(m []byte) error {
	return eachField(m, func(n protowire.Number, bytes []byte, _ uint64) error {
		switch n {
		case 1:
			return eachField(bytes, func(n protowire.Number, _ []byte, number uint64) error {
				if n == 1 && number >= 100 && number < 600 {
					p.status = int(number)
				}
				return nil
			})
		case 2:
			f, _, err := headerOption(bytes)
			p.header = append(p.header, f)
			return err
		case 3:
			p.body = string(bytes)
		}
		return nil
	})
}

func (p *permission) readOK(m []byte) error {
	return eachField(m, func(n protowire.Number, bytes []byte, _ uint64) error {
		switch n {
		case 2:
			f, appended, err := headerOption(bytes)
			if appended {
				p.add = append(p.add, f)
			} else {
				p.set = append(p.set, f)
			}
			return err
		case 5:
			p.remove = append(p.remove, strings.ToLower(string(bytes)))
		case 6:
			f, _, err := headerOption(bytes)
			p.response = append(p.response, f)
			return err
		}
		return nil
	})
}

// headerOption reads a HeaderValueOption. In these messages a field is set unless
// append says true.
func headerOption(m []byte) (f message.Field, appended bool, err error) {
	var h message.Header
	err = eachField(m, func(n protowire.Number, bytes []byte, _ uint64) error {
		switch n {
		case 1:
			return addHeader(&h, bytes)
		case 2: // BoolValue
			return eachField(bytes, func(n protowire.Number, _ []byte, number uint64) error {
				appended = n == 1 && number != 0
				return nil
			})
		}
		return nil
	})
	if len(h) > 0 {
		f = h[0]
	}
	return f, appended, err
}
