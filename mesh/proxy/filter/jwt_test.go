package filter_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func signed(t *testing.T, key, claims string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(key)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	text, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The clock of a bubble starts at 946684800.
func TestTokens(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: []byte(secret), Algorithm: "HS256"}}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := filter.JWT(snapshot.JWT{
		Providers: map[string]*snapshot.JWTProvider{"p": {Issuer: "me", Audiences: []string{"https://shop/"}, Keys: keys, PayloadKey: "payload",
			ClaimHeaders: []snapshot.JWTClaimHeader{{Header: "x-user", Claim: "sub"}}, SpaceDelimited: []string{"scope"}}},
		Rules: []snapshot.JWTRule{{Prefix: "/", Requires: &snapshot.JWTRequirement{Any: []snapshot.JWTRequirement{{Provider: "p"}, {AllowMissing: true}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const good = `{"iss":"me","aud":"shop","sub":"jason","scope":"a b","exp":946684900}`
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct{ token, want string }{
			"good":      {signed(t, secret, good), ""},
			"expired":   {signed(t, secret, `{"iss":"me","aud":"shop","exp":946684700}`), "Jwt is expired"},
			"skew":      {signed(t, secret, `{"iss":"me","aud":"shop","exp":946684750}`), ""},
			"early":     {signed(t, secret, `{"iss":"me","aud":"shop","nbf":946684900}`), "Jwt not yet valid"},
			"issuer":    {signed(t, secret, `{"iss":"you","aud":"shop"}`), "Jwt issuer is not configured"},
			"audience":  {signed(t, secret, `{"iss":"me","aud":["mall"]}`), "Audiences in Jwt are not allowed"},
			"forged":    {signed(t, strings.ToUpper(secret), good), "Jwt verification fails"},
			"malformed": {"nonsense", "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"},
		} {
			x := exchange()
			x.Metadata, x.Request.Header = nil, message.Header{{Name: "authorization", Value: "Bearer " + c.token}, {Name: "x-user", Value: "root"}}
			r := served(t, f, x)
			switch {
			case c.want == "" && r != nil, c.want != "" && r == nil:
				t.Errorf("%s: %v", name, r)
			case r != nil && (r.Status != 401 || r.Body != c.want || !strings.Contains(r.Header.Get("www-authenticate"), `realm="http://shop/a"`)):
				t.Errorf("%s: %+v", name, r)
			case r == nil && x.Request.Header.Has("authorization"):
				t.Errorf("%s: the token went on", name)
			}
			if name != "good" {
				continue
			}
			payload, _ := x.Metadata["envoy.filters.http.jwt_authn"]["payload"].(map[string]any)
			if scope, _ := payload["scope"].([]any); len(scope) != 2 || x.Request.Header.Get("x-user") != "jason" {
				t.Errorf("payload %v, header %v", payload, x.Request.Header)
			}
		}
		time.Sleep(time.Hour)
		x := exchange()
		x.Request.Path = "/a?x=1&access_token=" + signed(t, secret, good)
		if r := served(t, f, x); r == nil || r.Body != "Jwt is expired" {
			t.Errorf("an hour later: %v", r)
		}
		if r := served(t, f, exchange()); r != nil {
			t.Errorf("missing: %v", r)
		}
	})
}

// A filter that changes what routes may ask for has the route looked for once more.
func TestGoodTokenRoutesAgain(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: []byte(secret), Algorithm: "HS256"}}})
	if err != nil {
		t.Fatal(err)
	}
	beta, slash := "beta", "/"
	table := route.Compile(&snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{{Name: "v", Domains: []string{"*"}, Routes: []*snapshot.Route{
		{Name: "claim", Match: snapshot.RouteMatch{Prefix: &slash, Metadata: []snapshot.MetadataMatch{{Filter: snapshot.JWT{}.FilterName(), Path: []string{"payload", "ring"},
			Value: snapshot.ValueMatch{String: &snapshot.StringMatch{Exact: &beta}}}}}},
		{Name: "rest", Match: snapshot.RouteMatch{Prefix: &slash}}}}}})
	for _, c := range []struct {
		again        bool
		claims, want string
	}{{true, `{"ring":"beta"}`, "claim"}, {true, `{"ring":"stable"}`, "rest"}, {false, `{"ring":"beta"}`, "rest"}} {
		f, err := filter.JWT(snapshot.JWT{
			Providers: map[string]*snapshot.JWTProvider{"p": {Keys: keys, PayloadKey: "payload", ClearRouteCache: c.again}},
			Rules:     []snapshot.JWTRule{{Prefix: "/", Requires: &snapshot.JWTRequirement{Provider: "p"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		x := exchange()
		x.Table, x.Metadata = table, map[string]map[string]any{"other": {"kept": true}}
		x.Request.Header = message.Header{{Name: "authorization", Value: "Bearer " + signed(t, secret, c.claims)}}
		x.Route()
		if r := served(t, f, x); r != nil || x.Rule.Name != c.want || x.Request.Stream.RouteName != c.want || x.Metadata["other"] == nil {
			t.Errorf("%+v: answer %v, route %q, metadata %v", c, r, x.Rule.Name, x.Metadata)
		}
	}
}
