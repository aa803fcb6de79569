package meshd

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

const oneKey = `{"keys":[{"kty":"oct","kid":%q,"k":"c2VjcmV0"}]}`

func TestKeysAreFetchedFromAddressesAndIssuers(t *testing.T) {
	var kid atomic.Value
	kid.Store("first")
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/keys", "/of/issuer":
			fmt.Fprintf(w, oneKey, kid.Load())
		case "/issuer/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"jwks_uri":%q}`, server.URL+"/of/issuer")
		case "/nonsense":
			fmt.Fprint(w, "<html>")
		default:
			http.Error(w, "no", http.StatusNotFound)
		}
	}))
	defer server.Close()
	objects, _ := config.Decode("ra.yaml", 1, []byte(fmt.Sprintf(`
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: a}
spec:
  jwtRules:
  - {issuer: one, jwksUri: %[1]s/keys}
  - {issuer: %[1]s/issuer}
  - {issuer: three, jwksUri: %[1]s/nonsense}
  - {issuer: four, jwksUri: %[1]s/gone, timeout: 1s}
`, server.URL)))
	view := store.NewView(objects...)
	k := newKeyring(netx.System{}, slog.New(slog.DiscardHandler))
	if changed, ok := k.fetch(context.Background(), view, false); !changed || ok {
		t.Errorf("changed %v, ok %v", changed, ok)
	}
	for source, want := range map[[2]string]string{
		{server.URL + "/keys", ""}:     "first",
		{"", server.URL + "/issuer"}:   "first",
		{server.URL + "/nonsense", ""}: "not-fetched",
		{server.URL + "/gone", ""}:     "not-fetched",
		{"never asked", ""}:            "not-fetched",
	} {
		if got := k.Keys(source[0], source[1]); !strings.Contains(got, want) {
			t.Errorf("%v: %s, want %s", source, got, want)
		}
	}
	kid.Store("second")
	if changed, _ := k.fetch(context.Background(), view, false); changed {
		t.Error("what was fetched was fetched again")
	}
	if changed, _ := k.fetch(context.Background(), view, true); !changed || !strings.Contains(k.Keys(server.URL+"/keys", ""), "second") {
		t.Error("new keys did not arrive")
	}
	server.Close()
	if changed, ok := k.fetch(context.Background(), view, true); changed || ok || !strings.Contains(k.Keys(server.URL+"/keys", ""), "second") {
		t.Error("old keys did not stay")
	}
}
