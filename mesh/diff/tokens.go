package diff

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	networkingpb "istio.io/api/networking/v1alpha3"
	securitypb "istio.io/api/security/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// Token is what a request shows of who sends it: claims, and where the issuer's rule has
// its tokens.
type Token struct {
	Claims         map[string]any
	Header, Prefix string // of a header, in front of the token
	Param          string // of the query; empty: the header has it
}

// secret signs the tokens of all issuers: nothing is sent, so whoever compares two
// configurations decides whose tokens are good. What an issuer's own keys are is not compared.
const secret = "the key of a comparison, which nobody else has to know"

// Keys is the JSON Web Key Set that makes a proxy take tokens for those of its issuers.
func Keys() []byte {
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: []byte(secret), Algorithm: string(jose.HS256)}}})
	if err != nil {
		panic("diff: " + err.Error()) // it is always the same
	}
	return text
}

// Signed is the token's text.
func (t *Token) Signed() (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, nil)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(t.Claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// String are the claims, as a report shows them.
func (t *Token) String() string {
	text, _ := json.Marshal(t.Claims) // maps, lists and strings
	return string(text)
}

// claim is one of a token's, with its value; the path leads through claims with claims.
type claim struct {
	path  []string
	value string
}

// issuers are those of all RequestAuthentications, with the place of their tokens.
func issuers(objects []*config.Object) []Token {
	var list []Token
	for _, o := range objects {
		r, ok := o.Value.(*securityv1.RequestAuthentication)
		if !ok {
			continue
		}
		for _, rule := range r.Spec.GetJwtRules() {
			t := Token{Claims: map[string]any{"iss": rule.GetIssuer(), "sub": "x"}, Header: "authorization", Prefix: "Bearer "}
			if a := rule.GetAudiences(); len(a) > 0 {
				t.Claims["aud"] = a[0]
			}
			switch {
			case len(rule.GetFromHeaders()) > 0:
				t.Header, t.Prefix = strings.ToLower(rule.GetFromHeaders()[0].GetName()), rule.GetFromHeaders()[0].GetPrefix()
			case len(rule.GetFromParams()) > 0:
				t.Param = rule.GetFromParams()[0]
			case len(rule.GetFromCookies()) > 0:
				t.Header, t.Prefix = "cookie", rule.GetFromCookies()[0]+"="
			}
			if !slices.ContainsFunc(list, func(o Token) bool { return o.key() == t.key() }) {
				list = append(list, t)
			}
		}
	}
	return list
}

func (t *Token) key() string { return fmt.Sprintf("%s %q %q %q", t, t.Header, t.Prefix, t.Param) }

// with is an issuer's token with some claims more; nil where they are another issuer's.
func (t Token) with(claims []claim, all []Token) *Token {
	t.Claims = maps.Clone(t.Claims)
	own := t.Claims["iss"]
	for _, c := range claims {
		into := t.Claims
		for _, name := range c.path[:len(c.path)-1] {
			inner, ok := into[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
				into[name] = inner
			}
			into = inner
		}
		into[c.path[len(c.path)-1]] = c.value
	}
	if iss := t.Claims["iss"]; iss != own && slices.ContainsFunc(all, func(o Token) bool { return o.Claims["iss"] == iss }) {
		return nil
	}
	return &t
}

// strangers are the tokens that every host is asked with where anybody looks at them: a
// good one, and one of an issuer that nobody knows.
func strangers() []variant {
	return []variant{
		{method: "GET", path: "/", claims: []claim{}},
		{method: "GET", path: "/", claims: []claim{{[]string{"iss"}, "https://unknown.invalid"}}},
	}
}

// ruleClaims are the claims that an authorization rule asks for, each with one value that it takes.
func ruleClaims(r *securitypb.Rule) []claim {
	var list []claim
	for _, f := range r.GetFrom() {
		s := f.GetSource()
		if of := append(slices.Clone(s.GetRequestPrincipals()), s.GetNotRequestPrincipals()...); len(of) > 0 {
			list = append(list, principal(of[0])...)
		}
	}
	for _, w := range r.GetWhen() {
		values := append(slices.Clone(w.GetValues()), w.GetNotValues()...)
		if len(values) == 0 {
			continue
		}
		switch path, ok := config.ClaimPath("@" + w.GetKey()); {
		case ok:
			list = append(list, claim{path, literal(values[0])})
		case w.GetKey() == "request.auth.principal":
			list = append(list, principal(values[0])...)
		case w.GetKey() == "request.auth.audiences":
			list = append(list, claim{[]string{"aud"}, literal(values[0])})
		case w.GetKey() == "request.auth.presenter":
			list = append(list, claim{[]string{"azp"}, literal(values[0])})
		}
	}
	return list
}

// principal is "issuer/subject"; wildcards leave what a token has anyway.
func principal(text string) []claim {
	i := strings.LastIndexByte(text, '/')
	if i < 0 || strings.HasPrefix(text, "*") && i == 0 {
		return []claim{}
	}
	list := []claim{}
	if issuer := text[:i]; !strings.Contains(issuer, "*") {
		list = append(list, claim{[]string{"iss"}, issuer})
	}
	if subject := text[i+1:]; subject != "*" {
		list = append(list, claim{[]string{"sub"}, literal(subject)})
	}
	return list
}

// literal is a text that a value with a wildcard takes.
func literal(value string) string { return strings.ReplaceAll(value, "*", "x") }

// matchClaims are the claims that some of a VirtualService's matches name.
func matchClaims(matches map[string]*networkingpb.StringMatch) []claim {
	var list []claim
	for _, name := range slices.Sorted(maps.Keys(matches)) {
		if path, ok := config.ClaimPath(name); ok {
			value := "x"
			if good, _ := values(matches[name]); len(good) > 0 {
				value = good[0]
			}
			list = append(list, claim{path, value})
		}
	}
	return list
}

// claimVariants add a token to a request: one with all of the claims, and for each of them
// one without it, and one with another value.
func claimVariants(hit variant, claims []claim) []variant {
	if claims == nil {
		return nil
	}
	with := func(claims []claim) variant {
		v := hit
		v.claims = claims
		return v
	}
	list := []variant{with(claims)}
	for i, c := range claims {
		list = append(list, with(slices.Delete(slices.Clone(claims), i, i+1)))
		other := slices.Clone(claims)
		other[i] = claim{c.path, c.value + "x"}
		list = append(list, with(other))
	}
	return list
}
