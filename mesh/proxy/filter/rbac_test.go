package filter_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func exact(s string) *snapshot.StringMatch { return &snapshot.StringMatch{Exact: &s} }

func exchange() *filter.Exchange {
	return &filter.Exchange{
		Request: &message.Request{Method: "GET", Scheme: "http", Authority: "shop", Path: "/a?b=c", Header: message.Header{{Name: "x-team", Value: "red"}},
			Stream: &message.Stream{Remote: netip.MustParseAddrPort("192.0.2.7:1"), Conn: &message.Conn{
				Remote: netip.MustParseAddrPort("10.0.0.1:1"), Local: netip.MustParseAddrPort("10.0.0.2:80"), RequestedServerName: "shop.example",
				TLS: &message.TLS{PeerURIs: []string{"spiffe://cluster.local/ns/a/sa/b"}}}}},
		Metadata: map[string]map[string]any{"jwt": {"payload": map[string]any{"sub": "jason", "groups": []any{"red", "blue"}}}},
	}
}

// served returns the local reply of a filter, or nil where the request got through.
func served(t *testing.T, f filter.Filter, x *filter.Exchange) *reply.Reply {
	t.Helper()
	_, err := f(func(context.Context, *filter.Exchange) (*message.Response, error) {
		return &message.Response{Status: 200}, nil
	})(context.Background(), x)
	var r *reply.Reply
	if err != nil && !errors.As(err, &r) {
		t.Fatal(err)
	}
	return r
}

func TestTermsOfPolicies(t *testing.T) {
	claim := func(key string, v snapshot.ValueMatch) snapshot.RBACTerm {
		return snapshot.RBACTerm{Metadata: &snapshot.MetadataMatch{Filter: "jwt", Path: []string{"payload", key}, Value: v}}
	}
	for name, c := range map[string]struct {
		term snapshot.RBACTerm
		want bool
	}{
		"any":               {snapshot.RBACTerm{Any: true}, true},
		"nothing":           {snapshot.RBACTerm{}, false},
		"and":               {snapshot.RBACTerm{And: []snapshot.RBACTerm{{Any: true}, {}}}, false},
		"or":                {snapshot.RBACTerm{Or: []snapshot.RBACTerm{{}, {Any: true}}}, true},
		"not":               {snapshot.RBACTerm{Not: &snapshot.RBACTerm{Any: true}}, false},
		"header":            {snapshot.RBACTerm{Header: &snapshot.HeaderMatch{Name: "x-team", Value: exact("red")}}, true},
		"path":              {snapshot.RBACTerm{Path: exact("/a")}, true},
		"path and query":    {snapshot.RBACTerm{Path: exact("/a?b=c")}, false},
		"port":              {snapshot.RBACTerm{DestinationPort: 80}, true},
		"other port":        {snapshot.RBACTerm{DestinationPort: 81}, false},
		"destination":       {snapshot.RBACTerm{DestinationIP: netip.MustParsePrefix("10.0.0.2/32")}, true},
		"peer":              {snapshot.RBACTerm{DirectIP: netip.MustParsePrefix("10.0.0.0/24")}, true},
		"peer is no client": {snapshot.RBACTerm{DirectIP: netip.MustParsePrefix("192.0.2.0/24")}, false},
		"client":            {snapshot.RBACTerm{RemoteIP: netip.MustParsePrefix("192.0.2.0/24")}, true},
		"server name":       {snapshot.RBACTerm{ServerName: exact("shop.example")}, true},
		"principal":         {snapshot.RBACTerm{Principal: exact("spiffe://cluster.local/ns/a/sa/b")}, true},
		"other principal":   {snapshot.RBACTerm{Principal: exact("spiffe://cluster.local/ns/a/sa/c")}, false},
		"claim":             {claim("sub", snapshot.ValueMatch{String: exact("jason")}), true},
		"claim of a list":   {claim("groups", snapshot.ValueMatch{OneOf: &snapshot.ValueMatch{String: exact("blue")}}), true},
		"either":            {claim("groups", snapshot.ValueMatch{Or: []snapshot.ValueMatch{{String: exact("blue")}, {OneOf: &snapshot.ValueMatch{String: exact("blue")}}}}), true},
		"missing claim":     {claim("iss", snapshot.ValueMatch{String: exact("")}), false},
	} {
		policy := []snapshot.RBACPolicy{{Name: "p", Permissions: []snapshot.RBACTerm{{Any: true}}, Principals: []snapshot.RBACTerm{c.term}}}
		allow := served(t, filter.RBAC(snapshot.RBAC{Enforced: true, Action: snapshot.RBACAllow, Policies: policy}, func(string) {}), exchange())
		deny := served(t, filter.RBAC(snapshot.RBAC{Enforced: true, Action: snapshot.RBACDeny, Policies: policy}, func(string) {}), exchange())
		audit := served(t, filter.RBAC(snapshot.RBAC{Enforced: true, Action: snapshot.RBACLog, Policies: policy}, func(string) {}), exchange())
		if (allow == nil) != c.want || (deny == nil) == c.want || audit != nil {
			t.Errorf("%s: allow %v, deny %v, audit %v", name, allow, deny, audit)
		}
		if c.want && (deny.Status != 403 || deny.Body != "RBAC: access denied" || deny.Details != "rbac_access_denied_matched_policy[p]") {
			t.Errorf("%s: denied with %+v", name, deny)
		}
		if !c.want && allow.Details != "rbac_access_denied_matched_policy[none]" {
			t.Errorf("%s: not allowed with %+v", name, allow)
		}
	}
}

func TestConnectionsHaveNoRequest(t *testing.T) {
	config := &snapshot.RBAC{Enforced: true, Policies: []snapshot.RBACPolicy{{Name: "p", Permissions: []snapshot.RBACTerm{{DestinationPort: 80}},
		Principals: []snapshot.RBACTerm{{Path: exact("/a")}}}}}
	conn := exchange().Request.Stream.Conn
	if filter.Permit(config, conn) {
		t.Error("a connection has a path")
	}
	config.Policies[0].Principals[0] = snapshot.RBACTerm{Principal: exact("spiffe://cluster.local/ns/a/sa/b")}
	if !filter.Permit(config, conn) {
		t.Error("a connection has no principal")
	}
}
