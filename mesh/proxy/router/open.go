package router

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// Open opens a tunnel through the cluster of a TCP connection: Envoy's tunneling_config.
// The version of HTTP is the cluster's. An answer other than a 2xx to CONNECT, or a 200 to
// POST, is a connection that failed; there is no timeout but the cluster's for connecting.
// The error is a *reply.Reply.
func Open(ctx context.Context, o Options, s *message.Stream, t *snapshot.Tunnel, key uint64) (io.ReadWriteCloser, error) {
	c := o.Upstream.Cluster(s.Cluster)
	if c == nil {
		return nil, &reply.Reply{Status: 503, Flag: message.NoClusterFound, Details: "cluster_not_found", Reset: true}
	}
	r, sent, err := tunnelRequest(s, t)
	if err != nil {
		return nil, err
	}
	x := &filter.Exchange{Request: r, Key: key,
		VirtualHost: &route.VirtualHost{VirtualHost: &snapshot.VirtualHost{}}, Rule: &route.Rule{Route: &snapshot.Route{}}}
	own := &call{rt: &Router{options: o}, x: x, r: r, action: &action{}, forward: &snapshot.Forward{}, cluster: c,
		sel: upstream.Selection{Key: key, OriginalDst: upstream.OriginalDst(s.Conn)}}
	if s.Conn.HashKey != "" {
		own.sel.Hash, own.sel.HasHash = upstream.Hash(s.Conn.HashKey), true
	}
	if err := own.body.read(r, false); err != nil {
		return nil, err
	}
	own.start = time.Now()
	p, err := own.run(ctx)
	s.UpstreamHost, s.UpstreamLocal = r.Stream.UpstreamHost, r.Stream.UpstreamLocal
	s.UpstreamIdentity, s.UpstreamPeer = r.Stream.UpstreamIdentity, r.Stream.UpstreamPeer
	if sent != nil && (err != nil || p.Status != 200) {
		_ = sent.CloseWithError(io.ErrClosedPipe) // for who waits for the request's content
	}
	switch {
	case err != nil:
		return nil, err
	case p.Upgraded != nil:
		return p.Upgraded, nil
	case t.Post && p.Status == 200:
		if p.Body == nil {
			p.Body = message.NewBytes(nil, nil)
		}
		return &posted{ReadCloser: p.Body, sent: sent}, nil
	}
	if p.Body != nil {
		_ = p.Body.Close()
	}
	return nil, &reply.Reply{Status: 503, Flag: message.UpstreamConnectionFailure, Details: "upstream_connect_failure",
		Body: fmt.Sprintf("the tunnel was answered with %d", p.Status), Reset: true}
}

// tunnelRequest makes the request that opens a tunnel; what is written to sent is its
// content, where it has any.
func tunnelRequest(s *message.Stream, t *snapshot.Tunnel) (r *message.Request, sent *io.PipeWriter, err error) {
	r = &message.Request{Method: "CONNECT", Scheme: "http", Stream: &message.Stream{Conn: s.Conn, Start: time.Now(), Remote: s.Remote, Cluster: s.Cluster}}
	host, err := accesslog.CompileFormat(t.Hostname)
	if err != nil {
		return nil, nil, err
	}
	ops, err := compileOps(t.Headers)
	if err != nil {
		return nil, nil, err
	}
	r.Authority = string(host.AppendHeader(nil, accesslog.Of(r, nil, r.Stream.Start)))
	if t.Post {
		r.Method, r.Path, r.ContentLength = "POST", t.PostPath, -1
		if r.Path == "" {
			r.Path = "/"
		}
		var content *io.PipeReader
		content, sent = io.Pipe()
		r.Body = pipe{content}
	}
	applyRequest(ops, r)
	return r, sent, nil
}

// pipe is the content of a POST that goes on as long as the tunnel.
type pipe struct{ *io.PipeReader }

// Trailer implements message.Body.
func (pipe) Trailer() message.Header { return nil }

// posted is a tunnel by POST: the answer is read, the request's content written.
type posted struct {
	io.ReadCloser
	sent *io.PipeWriter
}

// Write implements io.Writer.
func (p *posted) Write(b []byte) (int, error) { return p.sent.Write(b) }

// CloseWrite ends the request.
func (p *posted) CloseWrite() error { return p.sent.Close() }

// Close implements io.Closer.
func (p *posted) Close() error {
	_ = p.sent.CloseWithError(io.ErrClosedPipe)
	return p.ReadCloser.Close()
}
