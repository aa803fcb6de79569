package filter

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// permission is what an authorization service answers.
type permission struct {
	allowed bool
	// Where it allows: fields that are set in the request, added to it and taken out of
	// it, and that are added to the response.
	set, add, response message.Header
	remove             []string
	// Where it denies: the answer.
	status int
	header message.Header
	body   string
}

// ExtAuthz asks a service whether a request may pass, as Envoy's ext_authz filter. A
// denied one gets the service's answer; where the service cannot be asked, the filter's
// status, unless it fails open. Count is told what happened: ok, denied, error,
// failure_mode_allowed, disabled.
func ExtAuthz(config *snapshot.ExtAuthz, caller Caller, count func(string)) Filter {
	a := &authorizer{config: config, caller: caller}
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			if config.Enabled != nil && !route.MatchMetadata(config.Enabled, x.Metadata) {
				count("disabled")
				return next(ctx, x)
			}
			p, err := a.ask(ctx, x)
			var answer *reply.Reply
			switch {
			case errors.As(err, &answer): // of the body: it is the client's fault
				return nil, answer
			case ctx.Err() != nil:
				return nil, &reply.Reply{Flag: message.DownstreamConnectionTermination, Details: "downstream_remote_disconnect", Reset: true}
			case err != nil && config.FailOpen:
				count("error")
				count("failure_mode_allowed")
				return next(ctx, x)
			case err != nil:
				count("error")
				return nil, &reply.Reply{Status: config.StatusOnError, Flag: message.UnauthorizedExternalService, Details: "ext_authz_error"}
			case !p.allowed:
				count("denied")
				return nil, &reply.Reply{Status: p.status, Flag: message.UnauthorizedExternalService, Details: "ext_authz_denied", Body: p.body, Header: p.header}
			}
			count("ok")
			change(x.Request, p)
			r, err := next(ctx, x)
			if r != nil {
				for _, f := range p.response {
					r.Header.Set(f.Name, f.Value)
				}
			}
			return r, err
		}
	}
}

// change does to a request what the service wants.
func change(r *message.Request, p *permission) {
	for _, f := range p.set {
		switch f.Name {
		case ":path":
			r.Path = f.Value
		case ":authority", "host":
			r.Authority = f.Value
		default:
			r.Header.Set(f.Name, f.Value)
		}
	}
	for _, f := range p.add {
		r.Header.Add(f.Name, f.Value)
	}
	for _, name := range p.remove {
		r.Header.Del(name)
	}
}

type authorizer struct {
	config *snapshot.ExtAuthz
	caller Caller
}

func (a *authorizer) ask(ctx context.Context, x *Exchange) (*permission, error) {
	var body []byte
	partial := false
	if a.config.Body != nil {
		var err error
		if body, partial, err = peek(x.Request, a.config.Body); err != nil {
			return nil, err
		}
	}
	if a.config.GRPC != nil {
		return a.askGRPC(ctx, x, body, partial)
	}
	return a.askHTTP(ctx, x, body, partial)
}

// peek reads the beginning of a body, and puts it back.
func peek(r *message.Request, c *snapshot.ExtAuthzBody) (body []byte, partial bool, err error) {
	if r.Body == nil {
		return nil, false, nil
	}
	body = make([]byte, c.Max+1)
	n, err := io.ReadFull(r.Body, body)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		body = body[:n]
		r.Body = message.NewBytes(body, r.Body.Trailer())
		return body, false, nil
	case err != nil:
		return nil, false, &reply.Reply{Flag: message.DownstreamConnectionTermination, Details: "downstream_remote_disconnect", Reset: true}
	case !c.Partial:
		return nil, false, &reply.Reply{Status: 413, Details: "request_payload_too_large", Body: "Payload Too Large"}
	}
	r.Body = &prefixed{Body: r.Body, first: body}
	return body[:c.Max], true, nil
}

// prefixed is a body some of which was read already.
type prefixed struct {
	message.Body
	first []byte
}

// Read implements io.Reader.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) == 0 {
		return p.Body.Read(b)
	}
	n := copy(b, p.first)
	p.first = p.first[n:]
	return n, nil
}

// always are the fields that an HTTP service always sees, beside method, host and path.
var always = []string{"authorization"}

// ofConnection are fields that never go from one message to another.
var ofConnection = []string{"connection", "content-length", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"}

// onDenial are fields that always go to a client that is denied.
var onDenial = []string{"www-authenticate", "location"}

func matches(list []snapshot.StringMatch, name string) bool {
	for i := range list {
		if route.MatchString(&list[i], name) {
			return true
		}
	}
	return false
}

func contains(list []string, name string) bool {
	for _, v := range list {
		if v == name {
			return true
		}
	}
	return false
}

func (a *authorizer) askHTTP(ctx context.Context, x *Exchange, body []byte, partial bool) (*permission, error) {
	c := a.config.HTTP
	r := &message.Request{Method: x.Request.Method, Scheme: "http", Authority: x.Request.Authority, Path: c.PathPrefix + x.Request.Path, Protocol: message.HTTP11}
	for _, f := range x.Request.Header {
		if (contains(always, f.Name) || matches(a.config.Headers, f.Name)) && !contains(ofConnection, f.Name) {
			r.Header.Add(f.Name, f.Value)
		}
	}
	for _, f := range c.Add {
		r.Header.Set(strings.ToLower(f.Key), f.Value)
	}
	if a.config.Body != nil {
		r.Header.Set("x-envoy-auth-partial-body", yesNo(partial))
	}
	if len(body) > 0 {
		r.Body, r.ContentLength = message.NewBytes(body, nil), int64(len(body))
	} else {
		r.Header.Set("content-length", "0")
	}
	p, err := a.caller.Call(ctx, c.Cluster, r, x.Key, a.config.Timeout)
	if err != nil {
		return nil, err
	}
	content, _, err := readAll(p)
	if err == nil && p.Status >= 500 {
		err = errors.New("the authorization service answered with an error")
	}
	if err != nil {
		return nil, err
	}
	return readHTTP(c, p, content), nil
}

func yesNo(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// readHTTP takes 200 for leave to pass, and all else for the client's answer.
func readHTTP(c *snapshot.ExtAuthzHTTP, answer *message.Response, body []byte) *permission {
	p := &permission{allowed: answer.Status == 200, status: answer.Status, body: string(body)}
	for _, f := range answer.Header {
		if contains(ofConnection, f.Name) {
			continue
		}
		switch {
		case !p.allowed && (c.Client == nil || contains(onDenial, f.Name) || matches(c.Client, f.Name)):
			p.header = append(p.header, f)
		case p.allowed:
			if matches(c.Upstream, f.Name) {
				p.set = append(p.set, f)
			}
			if matches(c.UpstreamAppend, f.Name) {
				p.add = append(p.add, f)
			}
			if matches(c.ClientOK, f.Name) {
				p.response = append(p.response, f)
			}
		}
	}
	return p
}
