package load

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A client checks the server's certificate, tells the session, and is told what it
// lacks. The server's certificate is net/http/httptest's, for example.com.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.TLS.ServerName)) }))
	defer server.Close()
	demanding := httptest.NewUnstartedServer(http.NotFoundHandler())
	demanding.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	demanding.StartTLS()
	defer demanding.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	for name, tc := range map[string]struct {
		to   *httptest.Server
		url  string
		tls  *TLS
		want string // of the body, or of the error
	}{
		"simple":        {server, "https://example.com/", &TLS{CA: ca}, "example.com"},
		"server name":   {server, "https://elsewhere/", &TLS{CA: ca, SNI: "www.example.com"}, "www.example.com"},
		"another host":  {server, "https://elsewhere/", &TLS{CA: ca}, "not elsewhere"},
		"insecure":      {server, "https://elsewhere/", &TLS{Insecure: true}, "elsewhere"},
		"no ca":         {server, "https://example.com/", nil, "https needs a CA"},
		"empty ca":      {server, "https://example.com/", &TLS{}, "the CA has no certificate"},
		"plain":         {server, "http://example.com/", &TLS{CA: ca}, "tls needs an https:// URL"},
		"bad pair":      {server, "https://example.com/", &TLS{CA: ca, Cert: ca, Key: ca}, "the client's certificate"},
		"not presented": {demanding, "https://example.com/", &TLS{CA: ca}, "certificate required"},
	} {
		t.Run(name, func(t *testing.T) {
			dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, tc.to.Listener.Addr().String())
			}
			found, err := Send(t.Context(), SendOptions{Target: Target{Dial: dial, URL: tc.url, TLS: tc.tls}})
			switch {
			case err != nil:
				if !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
			case found.First == nil:
				if !strings.Contains(found.Records[0].Error, tc.want) {
					t.Errorf("error %q, want %q", found.Records[0].Error, tc.want)
				}
			case string(found.First.Body) != tc.want || *found.Records[0].TLS != (Session{"TLSv1.3", "example.com"}):
				t.Errorf("body %q, session %+v, want %q", found.First.Body, found.Records[0].TLS, tc.want)
			}
		})
	}
}
