package bookinfo

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// shop is all services behind one transport that routes by host name and counts calls.
type shop struct {
	services map[string]http.Handler
	calls    map[string]int
	headers  map[string]http.Header
}

func newShop(t *testing.T, reviews string) *shop {
	t.Helper()
	s := &shop{services: map[string]http.Handler{}, calls: map[string]int{}, headers: map[string]http.Header{}}
	for _, name := range []string{"productpage", "details", "reviews", "ratings"} {
		version := "v1"
		if name == "reviews" {
			version = reviews
		}
		h, err := New(name, version, Options{Transport: s, Seed: seed.New(1), Hostname: name + "-pod"})
		if err != nil {
			t.Fatal(err)
		}
		s.services[name] = h
	}
	return s
}

func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.URL.Hostname()
	s.calls[name]++
	s.headers[name] = r.Header
	w := httptest.NewRecorder()
	s.services[name].ServeHTTP(w, r)
	return w.Result(), nil
}

func (s *shop) get(path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	s.services["productpage"].ServeHTTP(w, r)
	return w
}

func TestPageShowsWhatTheVersionOfReviewsGives(t *testing.T) {
	for version, want := range map[string]string{"v1": "", "v2": `color="black"`, "v3": `color="red"`} {
		page := newShop(t, version).get("/productpage", nil).Body.String()
		if !strings.Contains(page, "<title>Simple Bookstore App</title>") || !strings.Contains(page, "1234567890") {
			t.Errorf("%s: the page lacks its title or the details:\n%s", version, page)
		}
		if want == "" && strings.Contains(page, "glyphicon-star") {
			t.Errorf("%s: the page has stars", version)
		}
		if stars := strings.Count(page, "glyphicon-star"); want != "" && (stars != 9 || !strings.Contains(page, want)) {
			t.Errorf("%s: %d stars, want 9 with %s", version, stars, want)
		}
	}
}

func TestPageSaysThatReviewsFailed(t *testing.T) {
	s := newShop(t, "v1")
	s.services["reviews"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	w := s.get("/productpage", nil)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "reviews are currently unavailable") {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	if s.calls["reviews"] != 2 {
		t.Fatalf("reviews was called %d times, want 2", s.calls["reviews"])
	}
	if w := s.get("/api/v1/products/0/reviews", nil); w.Code != 503 {
		t.Fatalf("the API answered %d, want 503", w.Code)
	}
}

func TestRatingsUnavailable(t *testing.T) {
	s := newShop(t, "v2")
	s.services["ratings"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	if page := s.get("/productpage", nil).Body.String(); !strings.Contains(page, "Ratings service is currently unavailable") {
		t.Fatal(page)
	}
}

func TestLoginSendsEndUser(t *testing.T) {
	s := newShop(t, "v2")
	r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(url.Values{"username": {"jason"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.services["productpage"].ServeHTTP(w, r)
	if w.Code != http.StatusFound || w.Header().Get("Location") != "/productpage" {
		t.Fatalf("login answered %d %v", w.Code, w.Header())
	}
	session := w.Header().Get("Set-Cookie")
	page := s.get("/productpage", http.Header{"Cookie": {session}, "X-Request-Id": {"abc"}, "Traceparent": {"00-1"}}).Body.String()
	if !strings.Contains(page, "jason") {
		t.Fatal("the page does not greet jason")
	}
	for _, name := range []string{"reviews", "details"} {
		if h := s.headers[name]; h.Get("End-User") != "jason" || h.Get("X-Request-Id") != "abc" || h.Get("Traceparent") != "00-1" {
			t.Errorf("%s got %v", name, h)
		}
	}
	if h := s.headers["ratings"]; h.Get("End-User") != "jason" {
		t.Errorf("ratings got %v", h)
	}
	forged := http.Header{"Cookie": {cookie + "=amFzb24.AAAA"}}
	if page := s.get("/productpage", forged).Body.String(); strings.Contains(page, "jason") {
		t.Fatal("a forged session was believed")
	}
}

func TestOtherPages(t *testing.T) {
	s := newShop(t, "v2")
	for path, want := range map[string]string{
		"/": "Simple Bookstore App", "/health": "healthy", "/static/bookinfo.css": "font",
		"/api/v1/products": "The Comedy of Errors", "/api/v1/products/0": "ISBN-10",
		"/api/v1/products/0/reviews": "Reviewer1", "/api/v1/products/0/ratings": `"Reviewer2":4`,
	} {
		if w := s.get(path, nil); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %q", path, w.Code, w.Body, want)
		}
	}
	if w := s.get("/api/v1/products/x", nil); w.Code != 400 {
		t.Errorf("a product that is no number: %d", w.Code)
	}
	if _, err := New("reviews", "v9", Options{}); err == nil {
		t.Error("reviews v9 was made")
	}
}
