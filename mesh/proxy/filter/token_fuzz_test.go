package filter

import (
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// FuzzToken: only the one token that the key has signed is good, whatever else looks like it.
func FuzzToken(f *testing.F) {
	key := []byte("0123456789abcdef0123456789abcdef")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: key}, nil)
	if err != nil {
		f.Fatal(err)
	}
	const claims = `{"iss":"me","aud":"shop","exp":4000000000}`
	object, err := signer.Sign([]byte(claims))
	if err != nil {
		f.Fatal(err)
	}
	good, err := object.CompactSerialize()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0." + "eyJpc3MiOiJtZSJ9" + ".")
	f.Add(good + ".a")
	f.Add("..")
	provider := &snapshot.JWTProvider{Issuer: "me", Audiences: []string{"https://shop/"}}
	keys := &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, Algorithm: "HS256"}}}
	f.Fuzz(func(t *testing.T, text string) {
		payload, problem := verify(provider, keys, text, time.Unix(1_000_000_000, 0))
		if (problem == "") != (string(payload) == claims) {
			t.Errorf("%q: %q, %s", text, payload, problem)
		}
	})
}

// FuzzKeys: what an issuer publishes is taken or refused.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZg","alg":"HS256"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, keys []byte) {
		if filter, err := JWT(snapshot.JWT{Providers: map[string]*snapshot.JWTProvider{"p": {Issuer: "me", Keys: keys}}}); err == nil && filter == nil {
			t.Error("neither a filter nor an error")
		}
	})
}
