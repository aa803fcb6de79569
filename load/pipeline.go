package load

import (
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// URL is one of several that a load calls. What it does not say is the target's.
type URL struct {
	URL     string
	Method  string
	Headers map[string]string // beside the target's, and before them
	Body    []byte
	// Weight is its share where URLs are drawn: all have one, or none.
	Weight float64
}

// pipeline is what a load calls, in which order.
type pipeline struct {
	requests []*request
	upTo     []float64 // sums of the weights; nil: each caller walks the requests in order
	draws    seed.Seed
}

// prepareAll makes the requests of a load ready.
func prepareAll(t Target) (*pipeline, error) {
	p := &pipeline{draws: t.Seed.Sub("pipeline")}
	urls := t.URLs
	if len(urls) == 0 {
		urls = []URL{{URL: t.URL}}
	} else if t.URL != "" {
		return nil, errors.New("load: a URL or several, not both")
	}
	sum := 0.0
	for i, u := range urls {
		r, err := prepare(t.with(u))
		if err != nil {
			return nil, err
		}
		p.requests = append(p.requests, r)
		if (u.Weight > 0) != (urls[0].Weight > 0) || u.Weight < 0 {
			return nil, fmt.Errorf("load: URL %d: either all URLs have a weight above 0, or none has", i+1)
		}
		if sum += u.Weight; sum > 0 {
			p.upTo = append(p.upTo, sum)
		}
	}
	return p, nil
}

// with is the target of one URL.
func (t Target) with(u URL) Target {
	t.URLs = nil
	t.URL = u.URL
	if u.Method != "" {
		t.Method = u.Method
	}
	if u.Body != nil {
		t.Body, t.Filler = u.Body, 0
	}
	if len(u.Headers) > 0 {
		headers := maps.Clone(t.Headers)
		if headers == nil {
			headers = map[string]string{}
		}
		maps.Copy(headers, u.Headers)
		t.Headers = headers
	}
	return t
}

// pick is what a caller's n-th call sends, from 0; the draw belongs to the call.
func (p *pipeline) pick(thread int, n int64) *request {
	if p.upTo == nil {
		return p.requests[n%int64(len(p.requests))]
	}
	drawn := p.draws.Float64(strconv.Itoa(thread)+"/"+strconv.FormatInt(n, 10)) * p.upTo[len(p.upTo)-1]
	for i, end := range p.upTo {
		if drawn < end {
			return p.requests[i]
		}
	}
	return p.requests[len(p.requests)-1]
}

// where is what two requests share that may use one connection.
func (r *request) where() string { return r.scheme + " " + r.addr }
