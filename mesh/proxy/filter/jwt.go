package filter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// clockSkew is how far the issuer's clock may be off, Envoy's default.
const clockSkew = time.Minute

// What is wrong with a token, in the words of Envoy's answers.
const (
	tokenMissing   = "Jwt is missing"
	tokenMalformed = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
	tokenHeader    = "Jwt header is an invalid JSON"
	tokenPayload   = "Jwt payload is an invalid JSON"
	tokenExpired   = "Jwt is expired"
	tokenEarly     = "Jwt not yet valid"
	tokenIssuer    = "Jwt issuer is not configured"
	tokenAudience  = "Audiences in Jwt are not allowed"
	tokenKey       = "Jwks doesn't have key to match kid or alg from Jwt"
	tokenSignature = "Jwt verification fails"
)

var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.HS256, jose.HS384, jose.HS512}

// JWT verifies tokens as Envoy's jwt_authn filter: what the first rule that matches
// asks for has to be there, else the answer is 401. The payload of a good token
// becomes metadata. An error names the provider whose keys are none.
func JWT(config snapshot.JWT) (Filter, error) {
	j := &jwt{config: config, keys: map[string]*jose.JSONWebKeySet{}}
	for name, p := range config.Providers {
		set := new(jose.JSONWebKeySet)
		if err := json.Unmarshal(p.Keys, set); err != nil {
			return nil, fmt.Errorf("filter %s: the keys of provider %q: %w", config.FilterName(), name, err)
		}
		j.keys[name] = set
	}
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			if problem := j.check(x); problem != "" {
				return nil, unauthorized(x.Request, problem)
			}
			return next(ctx, x)
		}
	}, nil
}

func unauthorized(r *message.Request, problem string) error {
	path, _, _ := strings.Cut(r.Path, "?")
	challenge := fmt.Sprintf("Bearer realm=%q", r.Scheme+"://"+r.Authority+path)
	if problem != tokenMissing {
		challenge += `, error="invalid_token"`
	}
	return &reply.Reply{Status: 401, Body: problem, Details: "jwt_authn_access_denied{" + strings.ReplaceAll(problem, " ", "_") + "}",
		Header: message.Header{{Name: "www-authenticate", Value: challenge}}}
}

type jwt struct {
	config snapshot.JWT
	keys   map[string]*jose.JSONWebKeySet
}

// check returns what is wrong, or "".
func (j *jwt) check(x *Exchange) string {
	for _, p := range j.config.Providers { // what only this filter may say
		if p.PayloadHeader != "" {
			x.Request.Header.Del(p.PayloadHeader)
		}
		for _, c := range p.ClaimHeaders {
			x.Request.Header.Del(c.Header)
		}
	}
	h := x.Request.Header
	if j.config.BypassPreflight && x.Request.Method == "OPTIONS" && h.Get("origin") != "" && h.Get("access-control-request-method") != "" {
		return ""
	}
	for i := range j.config.Rules {
		if r := &j.config.Rules[i]; strings.HasPrefix(x.Request.Path, r.Prefix) {
			if r.Requires == nil {
				return ""
			}
			return j.require(x, r.Requires)
		}
	}
	return ""
}

func (j *jwt) require(x *Exchange, r *snapshot.JWTRequirement) string {
	switch {
	case r.Provider != "":
		return j.provider(x, r.Provider)
	case r.All != nil:
		for i := range r.All {
			if problem := j.require(x, &r.All[i]); problem != "" {
				return problem
			}
		}
	case r.Any != nil:
		return j.any(x, r.Any)
	}
	return ""
}

// any is satisfied by one of several. A token that is wrong tells more than one
// of an issuer that another provider would know, and that more than none.
func (j *jwt) any(x *Exchange, list []snapshot.JWTRequirement) string {
	worst, missing, failed := tokenMissing, false, false
	for i := range list {
		switch {
		case list[i].AllowMissing:
			missing = true
			continue
		case list[i].AllowMissingOrFailed:
			failed = true
			continue
		}
		problem := j.require(x, &list[i])
		if problem == "" {
			return ""
		}
		if worst == tokenMissing || worst == tokenIssuer && problem != tokenMissing {
			worst = problem
		}
	}
	if failed || missing && worst == tokenMissing {
		return ""
	}
	return worst
}

// provider looks for a token where a provider has them, and at the token.
func (j *jwt) provider(x *Exchange, name string) string {
	p := j.config.Providers[name]
	problem := tokenMissing
	for _, t := range tokens(p, x.Request) {
		var payload []byte
		if payload, problem = verify(p, j.keys[name], t.text, time.Now()); problem == "" {
			accept(p, x, t, payload)
			return ""
		}
	}
	return problem
}

// verify returns the payload of a good token, or what is wrong with it.
func verify(p *snapshot.JWTProvider, keys *jose.JSONWebKeySet, text string, now time.Time) (payload []byte, problem string) {
	if strings.Count(text, ".") != 2 {
		return nil, tokenMalformed
	}
	token, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, tokenHeader
	}
	payload = token.UnsafePayloadWithoutVerification()
	var claims struct {
		Issuer   string          `json:"iss"`
		Expires  *float64        `json:"exp"`
		Early    *float64        `json:"nbf"`
		Audience json.RawMessage `json:"aud"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return nil, tokenPayload
	}
	at := func(seconds float64) time.Time { return time.Unix(int64(seconds), 0) }
	switch {
	case p.Issuer != "" && claims.Issuer != p.Issuer:
		return nil, tokenIssuer
	case claims.Early != nil && now.Add(clockSkew).Before(at(*claims.Early)):
		return nil, tokenEarly
	case claims.Expires != nil && now.Add(-clockSkew).After(at(*claims.Expires)):
		return nil, tokenExpired
	case len(p.Audiences) > 0 && !forAudience(p.Audiences, claims.Audience):
		return nil, tokenAudience
	}
	problem = tokenKey
	for i := range keys.Keys {
		k, head := &keys.Keys[i], token.Signatures[0].Header
		if head.KeyID != "" && k.KeyID != "" && k.KeyID != head.KeyID || k.Algorithm != "" && k.Algorithm != head.Algorithm {
			continue
		}
		if _, err := token.Verify(k); err == nil {
			return payload, ""
		}
		problem = tokenSignature
	}
	return nil, problem
}

// forAudience compares without scheme and trailing slash, as Envoy does.
func forAudience(allowed []string, raw json.RawMessage) bool {
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		var one string
		if json.Unmarshal(raw, &one) != nil {
			return false
		}
		list = []string{one}
	}
	bare := func(s string) string {
		s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
		return strings.TrimSuffix(s, "/")
	}
	return slices.ContainsFunc(list, func(a string) bool {
		return slices.ContainsFunc(allowed, func(b string) bool { return bare(a) == bare(b) })
	})
}

// accept tells of a good token, and takes it out of the request where it is not to go on.
// Where the provider says so, the route is looked for once more.
func accept(p *snapshot.JWTProvider, x *Exchange, t token, payload []byte) {
	h := &x.Request.Header
	if !p.Forward {
		t.remove(x.Request)
	}
	if p.PayloadHeader != "" {
		h.Set(p.PayloadHeader, base64.RawURLEncoding.EncodeToString(payload))
	}
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil {
		return
	}
	changed := false
	for _, c := range p.ClaimHeaders {
		if text, ok := claimText(claims, c.Claim); ok {
			h.Set(c.Header, text)
			changed = true
		}
	}
	for _, name := range p.SpaceDelimited {
		if text, ok := claims[name].(string); ok {
			list := []any{}
			for _, word := range strings.Fields(text) {
				list = append(list, word)
			}
			claims[name] = list
		}
	}
	if p.PayloadKey != "" {
		if x.Metadata == nil {
			x.Metadata = map[string]map[string]any{}
		}
		x.Metadata[snapshot.JWT{}.FilterName()] = map[string]any{p.PayloadKey: claims}
		changed = true
	}
	if changed && p.ClearRouteCache {
		x.Route()
	}
}

// claimText is a claim as a header; "a.b" is a claim in a claim.
func claimText(claims map[string]any, name string) (string, bool) {
	var value any = claims
	for key := range strings.SplitSeq(name, ".") {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	switch v := value.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	default:
		b, err := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b), err == nil
	}
}
