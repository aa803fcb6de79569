package attributes_test

import (
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/attributes"
)

func source(group string) map[string]any {
	return map[string]map[string]any{
		"response":   {"code": int64(503)},
		"request":    {"method": "GET", "headers": map[string]string{"user": "jason"}, "url_path": "/a"},
		"connection": {"mtls": true},
		"xds":        {"node": map[string]any{"id": "sidecar~a", "metadata": map[string]any{"LABELS": map[string]any{"app": "shop"}}}},
	}[group]
}

func TestFilters(t *testing.T) {
	for text, want := range map[string]bool{
		"response.code >= 500":                                               true,
		"response.code >= 400 && request.method == 'POST'":                   false,
		"request.headers['user'] == 'jason'":                                 true,
		"request.headers['nobody'] == 'jason'":                               false, // absent: an error, so no
		"has(response.grpc_status)":                                          false,
		"connection.mtls || request.url_path.startsWith('/b')":               true,
		"'user' in request.headers && request.headers.user.matches('^ja.+')": true,
		"response.code == '503'":                                             false,
	} {
		p, err := attributes.CompileFilter(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := p.Holds(source); got != want {
			t.Errorf("%s is %v", text, got)
		}
	}
}

func TestTexts(t *testing.T) {
	for text, want := range map[string]string{
		"request.method": "GET", "response.code": "503", "connection.mtls": "true", "request.headers['user'] + '!'": "jason!",
		"xds.node.id": "sidecar~a", "xds.node.metadata['LABELS'].app": "shop", "xds.node.metadata.NAME": "",
		"request.host": "", "request.headers": "", "response.code >= 500 ? 'bad' : 'good'": "bad",
	} {
		p, err := attributes.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, ok := p.Text(source); got != want || ok != (want != "") {
			t.Errorf("%s is %q, %v", text, got, ok)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "empty",
		"response.coed >= 500":  "response.coed is not supported",
		"respnse.code >= 500":   "undeclared reference to 'respnse'",
		"node.id == ''":         "Envoy calls it xds.node",
		"request.method + 1 ==": "Syntax error",
		"1 + 2":                 "expected true or false",
	} {
		if _, err := attributes.CompileFilter(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
