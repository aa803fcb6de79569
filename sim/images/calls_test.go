package images

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// answers is a transport that answers without a network; the path is the status.
type answers struct{}

func (answers) RoundTrip(r *http.Request) (*http.Response, error) {
	var status int
	if _, err := fmt.Sscanf(r.URL.Path, "/%d", &status); err != nil {
		return nil, err // nobody answers
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("x")), Request: r}, nil
}

func TestBehaviourHandsOnWhatItsCallsGot(t *testing.T) {
	for _, c := range []struct {
		calls []string
		want  int
	}{
		{nil, 200},
		{[]string{"/200", "/404"}, 200},
		{[]string{"/200", "/503", "/504"}, 503},
		{[]string{"/nobody", "/503"}, 502},
	} {
		for _, parallel := range []bool{false, true} {
			b := newBehaviour(container(), spec.HTTPBehaviour{Calls: calls(c.calls), Parallel: parallel})
			b.client.Transport = answers{}
			w := httptest.NewRecorder()
			if b.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != c.want {
				t.Errorf("calls %v, parallel %v: answered %d, want %d", c.calls, parallel, w.Code, c.want)
			}
		}
	}
}

func TestBehaviourNeedsItsStart(t *testing.T) {
	for _, c := range []struct {
		calls []string
		want  int
	}{{[]string{"/200", "/204"}, 200}, {[]string{"/200", "/503"}, 503}, {[]string{"/nobody"}, 503}} {
		b := newBehaviour(container(), spec.HTTPBehaviour{StartCalls: calls(c.calls)})
		b.client.Transport = answers{}
		b.start(context.Background())
		w := httptest.NewRecorder()
		if b.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != c.want {
			t.Errorf("start with %v: answered %d, want %d", c.calls, w.Code, c.want)
		}
	}
}

// A declared behaviour listens where the catalogue knows that its image does.
func TestBehaviourKeepsThePortsOfItsImage(t *testing.T) {
	found, err := NewCatalogue([]spec.Behaviour{{Image: "nginx:*"}}).Find("web", "nginx:1.14-alpine")
	if err != nil || len(found.Ports) != 1 || found.Ports[0] != 80 {
		t.Fatalf("ports %v, %v; want 80", found.Ports, err)
	}
}

func calls(paths []string) []spec.OutgoingCall {
	var list []spec.OutgoingCall
	for _, p := range paths {
		list = append(list, spec.OutgoingCall{URL: "http://other" + p})
	}
	return list
}
