package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/session"
)

const (
	manifests = "../bookinfo/manifests/"
	toV       = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n  http:\n  - route: [{destination: {host: reviews, subset: %s}}]\n"
)

// opened is a session over files of the test's own, with its reports.
type opened struct {
	*session.Session
	reports chan session.Report
}

func open(t *testing.T, paths ...string) opened {
	t.Helper()
	reports := make(chan session.Report, 16)
	s, err := session.Open(t.Context(), session.Options{Seed: 1, Interval: 20 * time.Millisecond, Doors: []session.Door{{Remote: 80}},
		Source: session.Source{Paths: paths}, OnReport: func(r session.Report) { reports <- r }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	o := opened{s, reports}
	if first := o.next(t); first.Failed() || len(first.Created) == 0 {
		t.Fatalf("the first report: %+v", first)
	}
	return o
}

func (o opened) next(t *testing.T) session.Report {
	t.Helper()
	select {
	case r := <-o.reports:
		return r
	case <-time.After(time.Minute):
		t.Fatal("no report")
		return session.Report{}
	}
}

func (o opened) get(t *testing.T, path string) string {
	t.Helper()
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", o.Doors()[0].Local, path))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", r.StatusCode, text)
}

func save(t *testing.T, path, text string) {
	t.Helper()
	// As editors do: another file that takes the place.
	if err := errors.Join(os.WriteFile(path+"~", []byte(text), 0o600), os.Rename(path+"~", path)); err != nil {
		t.Fatal(err)
	}
}

func TestASavedFileIsApplied(t *testing.T) {
	dir := t.TempDir()
	routes := filepath.Join(dir, "routes.yaml")
	save(t, routes, fmt.Sprintf(toV, "v1"))
	s := open(t, manifests+"bookinfo.yaml", manifests+"bookinfo-gateway.yaml", manifests+"destination-rule-all.yaml", dir)
	stars := func() bool { return strings.Contains(s.get(t, "/productpage"), "glyphicon-star") }
	if stars() {
		t.Error("v1 shows stars")
	}

	save(t, routes, "# a comment\n"+fmt.Sprintf(toV, "v3"))
	if r := s.next(t); r.Failed() || fmt.Sprint(r.Changed) != "[VirtualService default/reviews]" || len(r.Created)+len(r.Deleted) > 0 {
		t.Errorf("a change: %+v", r)
	}
	if !stars() {
		t.Error("v3 shows no stars")
	}

	save(t, routes, strings.Replace(fmt.Sprintf(toV, "v1"), "route:", "rout:", 1))
	if r := s.next(t); !r.Failed() || r.Changes() || !slices.Equal(r.Held, []string{routes}) || r.Findings[0].Position.String() != routes+":7:5" {
		t.Errorf("a mistake: %+v", r)
	}
	save(t, filepath.Join(dir, "new.yaml"), "kind: [")
	if r := s.next(t); !r.Failed() || r.Changes() || len(r.Findings) != 2 {
		t.Errorf("a new file with a mistake: %+v", r)
	}
	if !stars() {
		t.Error("the last good version has not stayed")
	}

	// What the control plane refuses is refused with its place, and what is there stays.
	if err := os.Remove(filepath.Join(dir, "new.yaml")); err != nil {
		t.Fatal(err)
	}
	if r := s.next(t); r.Changes() || !slices.Equal(r.Held, []string{routes}) {
		t.Errorf("the new file is gone: %+v", r)
	}
	second := strings.Replace(fmt.Sprintf(toV, "v1"), "name: reviews", "name: second", 1)
	save(t, routes, "# a comment\n"+fmt.Sprintf(toV, "v3")+"---\n"+second)
	if r := s.next(t); !r.Failed() || len(r.Rejected) != 1 || !strings.HasPrefix(r.Rejected[0], routes+":14:11: error: host") || len(r.Created) > 0 {
		t.Errorf("a second route of one host: %+v", r)
	}
	save(t, routes, "# a comment\n"+fmt.Sprintf(toV, "v3")+"---\n"+strings.ReplaceAll(strings.ReplaceAll(second, "[reviews]", "[details]"), "host: reviews", "host: details"))
	if r := s.next(t); r.Failed() || fmt.Sprint(r.Created) != "[VirtualService default/second]" {
		t.Errorf("a second object: %+v", r)
	}

	all := filepath.Join(dir, "all.yaml")
	if err := os.Rename(routes, all); err != nil {
		t.Fatal(err)
	}
	if r := s.next(t); r.Failed() || r.Changes() {
		t.Errorf("another name: %+v", r)
	}
	save(t, all, fmt.Sprintf(toV, "v1"))
	r := s.next(t)
	if r.Failed() || fmt.Sprint(r.Deleted) != "[VirtualService default/second]" || fmt.Sprint(r.Changed) != "[VirtualService default/reviews]" {
		t.Errorf("another file: %+v", r)
	}
	if stars() {
		t.Error("v1 shows stars")
	}
}

func TestServicesHaveAddresses(t *testing.T) {
	dir := t.TempDir()
	extra := filepath.Join(dir, "extra.yaml")
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: again}\nspec:\n  selector: {app: reviews, version: v1}\n  ports: [{name: http, port: 9080}]\n"
	save(t, extra, "# nothing yet\n")
	s := open(t, manifests+"bookinfo.yaml", dir)
	address := func(name string) string {
		p, err := s.Places(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range p.Services {
			if v.Name == name {
				return v.Ports[0].Address.String()
			}
		}
		return ""
	}
	if got := address("again"); got != "" {
		t.Fatalf("a Service that is not there is at %s", got)
	}
	save(t, extra, service)
	s.next(t)
	at := address("again")
	r, err := http.Get("http://" + at + "/reviews/0")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 || r.Header.Get("x-envoy-upstream-service-time") == "" {
		t.Errorf("the Service answers %s, %v: not by its sidecar", r.Status, r.Header)
	}
	save(t, extra, "# gone\n")
	s.next(t)
	if c, err := net.Dial("tcp", at); err == nil {
		c.Close()
		t.Errorf("%s is still open", at)
	}
	// Nobody has a Gateway: the gateway's port is closed, and so is what connects to it.
	if r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", s.Doors()[0].Local)); err == nil {
		r.Body.Close()
		t.Errorf("the gateway answers %s without a Gateway", r.Status)
	}
	save(t, extra, "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, annotations: {kubernetes.io/ingress.class: istio}}\nspec:\n"+
		"  rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: reviews, port: {number: 9080}}}}]}}]\n")
	s.next(t)
	if got := s.get(t, "/reviews/0"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("through an Ingress: %s", got)
	}
}

func TestAScenario(t *testing.T) {
	file := filepath.Join(t.TempDir(), "two.yaml")
	here, err := filepath.Abs(manifests)
	if err != nil {
		t.Fatal(err)
	}
	text := func(name string) string {
		return "apiVersion: windtunnel.dev/v1\nkind: Scenario\nmetadata: {name: " + name + "}\nspec:\n  resources: [" + here + "/bookinfo.yaml, " + here + "/destination-rule-all.yaml]\n" +
			"  steps:\n  - apply: [" + here + "/virtual-service-all-v1.yaml]\n  - request: {from: productpage-v1, url: \"http://reviews:9080/reviews/0\", count: 4}\n    expect: ['workloads[\"reviews-v1\"] == 4']\n"
	}
	save(t, file, text("one")+"---\n"+text("two"))
	_, err = session.Open(t.Context(), session.Options{Source: session.Source{Paths: []string{file}}})
	if err == nil || !strings.Contains(err.Error(), "choose one with --run (one, two)") {
		t.Errorf("two scenarios: %v", err)
	}
	save(t, file, text("one"))
	s, err := session.Open(t.Context(), session.Options{Seed: 1, Steps: true, Source: session.Source{Paths: []string{file}}})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Steps(t.Context()); r.Status != result.Passed || len(r.Steps) != 2 {
		t.Errorf("the steps: %+v", r)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeUp(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	save(t, bad, "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prts: []}\n")
	var refused *session.RefusedError
	if _, err := session.Open(t.Context(), session.Options{Source: session.Source{Paths: []string{bad}}}); !errors.As(err, &refused) || len(refused.Report.Findings) == 0 {
		t.Errorf("a mistake: %v", err)
	}
	for _, paths := range [][]string{nil, {filepath.Join(dir, "nothing.yaml")}, {t.TempDir()}} {
		if _, err := session.Open(t.Context(), session.Options{Source: session.Source{Paths: paths}}); err == nil || errors.As(err, &refused) {
			t.Errorf("%q: %v", paths, err)
		}
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var taken *net.OpError
	_, err = session.Open(t.Context(), session.Options{Source: session.Source{Paths: []string{manifests + "bookinfo.yaml"}},
		Doors: []session.Door{{Local: uint16(l.Addr().(*net.TCPAddr).Port), Remote: 80}}})
	if !errors.As(err, &taken) {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestDoors(t *testing.T) {
	for text, want := range map[string]session.Door{"8080": {Local: 8080, Remote: 80}, "0:443": {Remote: 443}, "9443:443": {Local: 9443, Remote: 443}} {
		if got, err := session.ParseDoor(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "80:", "80:0", "70000", "1:2:3", "127.0.0.1:80"} {
		if got, err := session.ParseDoor(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}
