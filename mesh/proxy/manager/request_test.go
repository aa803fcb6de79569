package manager

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

func TestPaths(t *testing.T) {
	normal := snapshot.HTTPManager{NormalizePath: true}
	merge := snapshot.HTTPManager{NormalizePath: true, MergeSlashes: true}
	forward := snapshot.HTTPManager{NormalizePath: true, EscapedSlashes: snapshot.UnescapeAndForward}
	tests := []struct {
		config   snapshot.HTTPManager
		in, want string
		status   int
	}{
		{snapshot.HTTPManager{}, "/a/../b//%41", "/a/../b//%41", 0},
		{normal, "/plain/path.html?q=../x", "/plain/path.html?q=../x", 0},
		{normal, "/a/b/../../c", "/c", 0},
		{normal, "/../../etc/passwd", "/etc/passwd", 0},
		{normal, "/a/./b/.", "/a/b/", 0},
		{normal, "/a/%2e%2E/b", "/b", 0},
		{normal, "/a/.../..b", "/a/.../..b", 0},
		{normal, `/a\..\b`, "/b", 0},
		{normal, "/%7Euser/%41%2F%3f", "/~user/A%2F%3f", 0},
		{normal, "/a//b", "/a//b", 0},
		{normal, "/ä?ä", "/%C3%A4?ä", 0},
		{normal, "/%zz%4", "/%zz%4", 0},
		{merge, "//a///b/?x=//", "/a/b/?x=//", 0},
		{forward, "/a%2f..%5Cb", "/b", 0},
		{snapshot.HTTPManager{EscapedSlashes: snapshot.UnescapeAndRedirect}, "/a%2Fb", "/a/b", 307},
		{snapshot.HTTPManager{EscapedSlashes: snapshot.RejectRequest}, "/a%5cb", "", 400},
		{normal, "/a#b", "", 400},
	}
	for _, test := range tests {
		q := &message.Request{Path: test.in}
		err := setPath(&test.config, q)
		var r *reply.Reply
		if errors.As(err, &r) != (test.status != 0) || r != nil && r.Status != test.status || test.want != "" && q.Path != test.want {
			t.Errorf("%q became %q, %v; want %q, %d", test.in, q.Path, err, test.want, test.status)
		}
	}
}

func TestForwardedHeaders(t *testing.T) {
	retry := message.Field{Name: "x-envoy-retry-on", Value: "5xx"}
	decorator := message.Field{Name: "x-envoy-decorator-operation", Value: "x"}
	xff := func(v string) message.Field { return message.Field{Name: "x-forwarded-for", Value: v} }
	tests := map[string]struct {
		config   snapshot.HTTPManager
		remote   string
		in       message.Header
		xff      string
		remoteIs string
		internal bool
		keeps    bool // x-envoy-retry-on
		keepsDec bool
	}{
		"sidecar, nothing known":      {snapshot.HTTPManager{}, "10.0.0.9", message.Header{retry, decorator}, "", "10.0.0.9", false, false, true},
		"sidecar, one internal":       {snapshot.HTTPManager{}, "10.0.0.9", message.Header{retry, xff("10.1.1.1")}, "10.1.1.1", "10.1.1.1", true, true, false},
		"sidecar, one external":       {snapshot.HTTPManager{}, "10.0.0.9", message.Header{retry, xff("8.8.8.8")}, "8.8.8.8", "8.8.8.8", false, false, false},
		"sidecar, two":                {snapshot.HTTPManager{}, "10.0.0.9", message.Header{retry, xff("8.8.8.8, 10.1.1.1")}, "8.8.8.8, 10.1.1.1", "10.1.1.1", false, false, false},
		"sidecar, rubbish":            {snapshot.HTTPManager{}, "10.0.0.9", message.Header{retry, xff("unknown")}, "unknown", "10.0.0.9", false, false, false},
		"edge, internal peer":         {snapshot.HTTPManager{UseRemoteAddress: true}, "10.0.0.9", message.Header{retry, decorator}, "10.0.0.9", "10.0.0.9", true, true, true},
		"edge, external peer":         {snapshot.HTTPManager{UseRemoteAddress: true}, "8.8.8.8", message.Header{retry, decorator}, "8.8.8.8", "8.8.8.8", false, false, false},
		"edge, forged":                {snapshot.HTTPManager{UseRemoteAddress: true}, "8.8.8.8", message.Header{retry, xff("10.1.1.1")}, "10.1.1.1,8.8.8.8", "8.8.8.8", false, false, false},
		"edge, one trusted hop":       {snapshot.HTTPManager{UseRemoteAddress: true, XFFTrustedHops: 1}, "10.0.0.9", message.Header{xff("1.1.1.1, 8.8.8.8")}, "1.1.1.1, 8.8.8.8,10.0.0.9", "8.8.8.8", false, false, false},
		"edge, peer on this host":     {snapshot.HTTPManager{UseRemoteAddress: true}, "127.0.0.1", nil, "10.0.0.1", "127.0.0.1", true, false, false},
		"sidecar, own internal range": {snapshot.HTTPManager{InternalAddresses: []netip.Prefix{netip.MustParsePrefix("8.0.0.0/8")}}, "10.0.0.9", message.Header{retry, xff("8.8.8.8")}, "8.8.8.8", "8.8.8.8", true, true, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := &session{c: Connection{Facts: &message.Conn{ID: 1, Remote: netip.AddrPortFrom(netip.MustParseAddr(test.remote), 4000), Local: netip.MustParseAddrPort("10.0.0.1:80")}}, remoteIP: test.remote}
			q := &message.Request{Method: "GET", Authority: "a", Path: "/", Header: test.in, Stream: &message.Stream{Remote: s.c.Facts.Remote}}
			test.config.GenerateRequestID = true
			m := New(Options{Config: &test.config, Seed: seed.New(1)})
			if err := s.prepare(m, q); err != nil {
				t.Fatal(err)
			}
			if got := q.Header.Get("x-forwarded-for"); got != test.xff || q.Stream.Remote.Addr().String() != test.remoteIs {
				t.Errorf("x-forwarded-for %q, remote %v", got, q.Stream.Remote)
			}
			if q.Header.Has("x-envoy-internal") != test.internal || q.Header.Has(retry.Name) != test.keeps || q.Header.Has(decorator.Name) != test.keepsDec {
				t.Errorf("header %v", q.Header)
			}
			if q.Header.Get("x-forwarded-proto") != "http" || q.Scheme != "http" || len(q.Header.Get("x-request-id")) != 36 {
				t.Errorf("header %v", q.Header)
			}
		})
	}
}

func TestRequestIDs(t *testing.T) {
	s := &session{c: Connection{Facts: &message.Conn{ID: 7}}, requests: 1}
	m := New(Options{Config: &snapshot.HTTPManager{GenerateRequestID: true}, Seed: seed.New(1)})
	first := s.newRequestID(m)
	s.requests++
	if second := s.newRequestID(m); second == first || first[14] != '4' || first[8] != '-' {
		t.Fatalf("%s, then %s", first, second)
	}
	always, never := &snapshot.Tracing{RandomSampling: 100, OverallSampling: 100}, &snapshot.Tracing{}
	q := &message.Request{}
	if got, _ := decideTrace(always, q, first); got[14] != '9' || got[:14] != first[:14] || got[15:] != first[15:] {
		t.Fatalf("sampled: %s", got)
	}
	if got, _ := decideTrace(never, q, first); got != first {
		t.Fatalf("not sampled: %s", got)
	}
}

func TestClientCertificate(t *testing.T) {
	tls := &message.TLS{PeerHash: "ab12", PeerSubject: "CN=x", PeerURIs: []string{"spiffe://td/ns/a/sa/b"}, PeerDNS: []string{"d1", "d2"}, LocalURIs: []string{"spiffe://td/me"}}
	details := snapshot.CertDetails{Subject: true, URI: true, DNS: true}
	element := `By=spiffe://td/me;Hash=ab12;Subject="CN=x";URI=spiffe://td/ns/a/sa/b;DNS=d1;DNS=d2`
	tests := []struct {
		mode snapshot.ForwardClientCert
		tls  *message.TLS
		want string
	}{
		{snapshot.Sanitize, tls, ""}, {snapshot.ForwardOnly, tls, "old"}, {snapshot.AppendForward, tls, "old," + element}, {snapshot.SanitizeSet, tls, element},
		{snapshot.AlwaysForwardOnly, nil, "old"}, {snapshot.AppendForward, nil, ""}, {snapshot.ForwardOnly, &message.TLS{}, ""},
	}
	for _, test := range tests {
		s := &session{c: Connection{Facts: &message.Conn{TLS: test.tls, Remote: netip.MustParseAddrPort("10.0.0.9:1")}}}
		q := &message.Request{Method: "GET", Authority: "a", Path: "/", Header: message.Header{{Name: clientCert, Value: "old"}}, Stream: new(message.Stream)}
		if err := s.prepare(New(Options{Config: &snapshot.HTTPManager{ForwardClientCert: test.mode, SetCurrentCertDetails: details}}), q); err != nil {
			t.Fatal(err)
		}
		if got := q.Header.Get(clientCert); got != test.want {
			t.Errorf("mode %d: %q, want %q", test.mode, got, test.want)
		}
	}
}
