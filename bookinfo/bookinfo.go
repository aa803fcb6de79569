// Package bookinfo is the bookstore of Istio's tutorials as four plain
// http.Handlers: productpage calls details and reviews, reviews v2 and v3 call
// ratings. They find each other by their Kubernetes names, pass tracing and user
// headers on, and have the time limits and the weaknesses of the original, so that
// what a tutorial says about delays and faults is what happens.
package bookinfo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Options for New.
type Options struct {
	// Transport carries the calls between the services.
	Transport http.RoundTripper
	// Env may override where services are: SERVICES_DOMAIN, DETAILS_HOSTNAME,
	// DETAILS_SERVICE_PORT and the like, as the original's containers read them.
	Env map[string]string
	// Seed makes the key that signs productpage's sessions.
	Seed seed.Seed
	// Hostname is the Pod's name, which reviews reports.
	Hostname string
}

// New returns one of the services: "productpage", "details", "ratings" or
// "reviews"; version ("v1") matters to reviews only.
func New(service, version string, o Options) (http.Handler, error) {
	switch service {
	case "productpage":
		return newProductpage(o), nil
	case "details":
		return newDetails(), nil
	case "reviews":
		return newReviews(version, o)
	case "ratings":
		return newRatings(), nil
	}
	return nil, fmt.Errorf("bookinfo has no service %q: expected productpage, details, reviews or ratings", service)
}

// propagated are the headers that each service passes on. Without them the
// sidecars could not join the spans of one request, nor route by user.
var propagated = []string{
	"X-Request-Id", "Traceparent", "Tracestate", "B3", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid",
	"X-B3-Sampled", "X-B3-Flags", "Sw8", "X-Ot-Span-Context", "X-Datadog-Trace-Id", "X-Datadog-Parent-Id",
	"X-Datadog-Sampling-Priority", "X-Cloud-Trace-Context", "Grpc-Trace-Bin", "End-User", "User-Agent", "Cookie",
	"Authorization", "Jwt",
}

// Propagate copies the headers of an incoming request that an outgoing one needs.
func Propagate(in, out http.Header) {
	for _, name := range propagated {
		if values := in[name]; len(values) > 0 {
			out[name] = values
		}
	}
}

// peer is another service as this one calls it.
type peer struct {
	base   string // http://reviews:9080/reviews/
	client *http.Client
}

// newPeer finds the service as the original does: HOSTNAME, port and domain from the environment.
func newPeer(o Options, name, upper string) *peer {
	host, port := name, "9080"
	if h := o.Env[upper+"_HOSTNAME"]; h != "" {
		host = h
	}
	if p := o.Env[upper+"_SERVICE_PORT"]; p != "" {
		port = p
	}
	if d := o.Env["SERVICES_DOMAIN"]; d != "" {
		host += "." + d
	}
	return &peer{
		base:   "http://" + host + ":" + port + "/" + name + "/",
		client: &http.Client{Transport: o.Transport},
	}
}

// get calls the peer for a product within the limit. It returns 500 where there was no answer.
func (p *peer) get(r *http.Request, user, id string, limit time.Duration) (int, []byte) {
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	out, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+id, nil)
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	Propagate(r.Header, out.Header)
	if user != "" {
		out.Header.Set("End-User", user)
	}
	answer, err := p.client.Do(out)
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	return answer.StatusCode, body
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The values are plain data, and a client that went away is not our error.
	_ = json.NewEncoder(w).Encode(v)
}

func healthy(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": name + " is healthy"})
	}
}

// product reads the product's number from the path; a bad one is answered with 400.
func product(w http.ResponseWriter, r *http.Request) (int, bool) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "please provide numeric product ID"})
	}
	return id, err == nil
}
