package images

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

func TestRepository(t *testing.T) {
	for image, want := range map[string]string{
		"nginx": "nginx", "nginx:1.14-alpine": "nginx", "docker.io/library/nginx@sha256:00": "nginx",
		"docker.io/istio/examples-bookinfo-reviews-v1:1.18.0": "istio/examples-bookinfo-reviews-v1",
		"localhost:5000/app":    "localhost:5000/app",
		"localhost:5000/app:v1": "localhost:5000/app",
	} {
		if got := Repository(image); got != want {
			t.Errorf("Repository(%q) is %q, want %q", image, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	c := NewCatalogue([]spec.Behaviour{
		{Image: "docker.io/kubeguide/tomcat-app:*", HTTP: spec.HTTPBehaviour{Status: 201}},
		{Workload: "mine", HTTP: spec.HTTPBehaviour{Status: 202}},
	})
	for _, image := range []string{"istio/examples-bookinfo-reviews-v2:1.15.0", "docker.io/kennethreitz/httpbin", "fortio/fortio:latest_release",
		"curlimages/curl", "nginx:1.14-alpine", "docker.io/kubeguide/tomcat-app:v1", "kubeguide/tomcat-app:v1",
		"registry.istio.io/release/examples-bookinfo-details-v1:1.20.3", "mirror.example.com/istio/examples-helloworld-v2:1.0",
		"registry.istio.io/testing/ext-authz:latest", "docker.io/mccutchen/go-httpbin:v2.15.0", "registry.istio.io/release/tcp-echo-server:1.3"} {
		if _, err := c.Find("other", image); err != nil {
			t.Errorf("%s: %v", image, err)
		}
	}
	if _, err := c.Find("mine", "example.com/unheard-of"); err != nil {
		t.Errorf("declared by workload: %v", err)
	}
	_, err := c.Find("other", "example.com/unheard-of:v1")
	if !errors.Is(err, ErrUnknown) {
		t.Fatalf("an unknown image was found: %v", err)
	}
	var unknown *UnknownError
	if !errors.As(err, &unknown) {
		t.Fatalf("%T is no UnknownError", err)
	}
	text := err.Error() + unknown.Hint()
	for _, want := range []string{"example.com/unheard-of:v1", "behaviours: [{image:", "behaviours: [{workload: other"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nlacks %q", text, want)
		}
	}
}

func container() Container {
	return Container{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, Seed: seed.New(1)}
}

func TestBehaviourTakesItsTimeAndFailsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBehaviour(container(), spec.HTTPBehaviour{Status: 200, Body: "ok",
			Latency: spec.Latency{P50: 5 * time.Millisecond, P99: 40 * time.Millisecond}, Errors: spec.Errors{Rate: 0.1, Status: 503}})
		const calls = 4000
		slow, failed := 0, 0
		for range calls {
			w, start := httptest.NewRecorder(), time.Now()
			b.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if time.Since(start) > 40*time.Millisecond {
				slow++
			}
			if w.Code == 503 {
				failed++
			} else if w.Code != 200 || w.Body.String() != "ok" {
				t.Fatalf("answer %d %q", w.Code, w.Body)
			}
		}
		if slow < calls/200 || slow > calls/50 {
			t.Errorf("%d of %d calls were slower than the 99th percentile", slow, calls)
		}
		if failed < calls*7/100 || failed > calls*13/100 {
			t.Errorf("%d of %d calls failed, want a tenth", failed, calls)
		}
	})
}

func TestBehaviourQueuesBeyondItsConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBehaviour(container(), spec.HTTPBehaviour{Concurrency: 2, Latency: spec.Latency{P50: time.Second}})
		start := time.Now()
		done := make(chan time.Duration)
		for range 6 {
			go func() {
				b.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
				done <- time.Since(start)
			}()
		}
		ends := map[time.Duration]int{}
		for range 6 {
			ends[<-done]++
		}
		if ends[time.Second] != 2 || ends[2*time.Second] != 2 || ends[3*time.Second] != 2 {
			t.Fatalf("calls ended at %v, want two each second", ends)
		}
	})
}

func TestBehaviourFailsOnOnePath(t *testing.T) {
	b := newBehaviour(container(), spec.HTTPBehaviour{Errors: spec.Errors{Rate: 1, Status: 503, Path: "/ready"}})
	for path, want := range map[string]int{"/ready": 503, "/ready/": 200, "/": 200, "/ready?x": 503} {
		w := httptest.NewRecorder()
		if b.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestBehaviourFailsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBehaviour(container(), spec.HTTPBehaviour{Errors: spec.Errors{Rate: 1, Status: 503, After: time.Minute, For: 30 * time.Second}})
		for _, c := range []struct {
			wait time.Duration
			want int
		}{{0, 200}, {time.Minute, 503}, {29 * time.Second, 503}, {time.Second, 200}} {
			time.Sleep(c.wait)
			w := httptest.NewRecorder()
			if b.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != c.want {
				t.Errorf("%v after the start: %d, want %d", time.Since(b.begun), w.Code, c.want)
			}
		}
	})
}
