package bench

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/load"
)

// Rate is how fast a load goes over a sample: as fast as it can (the zero value), at
// one rate, in steps of equal length, or evenly from one rate to another.
type Rate struct {
	Steps []float64 // calls per second
	Ramp  bool      // two Steps are the ends of a ramp
}

// Steady is one rate; 0 is as fast as it goes.
func Steady(rate float64) Rate {
	if rate == 0 {
		return Rate{}
	}
	return Rate{Steps: []float64{rate}}
}

const highestRate = 1e7

// ParseRate reads "max", "1000", "100..1000" (a ramp) and "100+500+1000" (steps).
func ParseRate(text string) (Rate, error) {
	if text == "max" {
		return Rate{}, nil
	}
	from, to, ramp := strings.Cut(text, "..")
	parts := []string{from, to}
	if !ramp {
		parts = strings.Split(text, "+")
	}
	r := Rate{Ramp: ramp}
	for _, part := range parts {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || !(v > 0 && v <= highestRate) {
			return Rate{}, fmt.Errorf("rate %q: expected a rate above 0, FROM..TO, STEP+STEP, or max", text)
		}
		r.Steps = append(r.Steps, v)
	}
	return r, nil
}

// String is the rate as ParseRate reads it.
func (r Rate) String() string {
	if !r.limited() {
		return "max"
	}
	parts := make([]string, len(r.Steps))
	for i, v := range r.Steps {
		parts[i] = strconv.FormatFloat(v, 'f', -1, 64)
	}
	if r.Ramp {
		return strings.Join(parts, "..")
	}
	return strings.Join(parts, "+")
}

// limited tells whether a load has a rate at all.
func (r Rate) limited() bool { return len(r.Steps) > 0 }

// set writes the rate and the length of a sample into a load.
func (r Rate) set(o *load.Options, d time.Duration) {
	o.QPS, o.Stages, o.Duration = 0, nil, d
	switch {
	case len(r.Steps) == 1:
		o.QPS = r.Steps[0]
		return
	case r.Ramp:
		o.Stages = []load.Stage{{From: r.Steps[0], To: r.Steps[1], Duration: d}}
	default:
		for _, v := range r.Steps {
			o.Stages = append(o.Stages, load.Stage{From: v, To: v, Duration: d / time.Duration(len(r.Steps))})
		}
	}
	if len(o.Stages) > 0 {
		o.Duration = 0
	}
}

// Request is what the client of a generated topology sends, and when.
type Request struct {
	Paths   []Path // nil: "/"
	Headers map[string]string
	Body    int // bytes
	Jitter  float64
	Arrival string // load.Uniform or ""; load.Poisson
}

// Path is one that is called, with its weight where there are several.
type Path struct {
	Path   string
	Weight float64 // 0: they are called in order
}

// ParsePath reads "/a" and "9:/a".
func ParsePath(text string) (Path, error) {
	weight, path, weighted := strings.Cut(text, ":/")
	p := Path{Path: text}
	if weighted {
		var err error
		if p.Weight, err = strconv.ParseFloat(weight, 64); err != nil || !(p.Weight > 0) {
			return p, fmt.Errorf("path %q: expected /PATH or WEIGHT:/PATH", text)
		}
		p.Path = "/" + path
	}
	if !strings.HasPrefix(p.Path, "/") || strings.ContainsAny(p.Path, " ,\r\n") {
		return p, fmt.Errorf("path %q: expected /PATH or WEIGHT:/PATH", text)
	}
	return p, nil
}

// String is the path as ParsePath reads it.
func (p Path) String() string {
	if p.Weight > 0 {
		return strconv.FormatFloat(p.Weight, 'f', -1, 64) + ":" + p.Path
	}
	return p.Path
}

// Check tells what is wrong with a request, given the rates at which it is sent.
func (q Request) Check(rates []Rate) error {
	var errs []error
	for _, p := range q.Paths {
		if (p.Weight > 0) != (q.Paths[0].Weight > 0) {
			errs = append(errs, errors.New("either all paths have a weight, or none has"))
			break
		}
	}
	switch {
	case q.Arrival != "" && q.Arrival != load.Uniform && q.Arrival != load.Poisson:
		errs = append(errs, fmt.Errorf("arrival %q: expected uniform or poisson", q.Arrival))
	case q.Jitter < 0 || q.Jitter > 0.5:
		errs = append(errs, fmt.Errorf("jitter %v: expected a part from 0 to 0.5", q.Jitter))
	case q.Arrival == load.Poisson && q.Jitter > 0:
		errs = append(errs, errors.New("calls that arrive by chance have no jitter"))
	}
	for _, r := range rates {
		if !r.limited() && (q.Jitter > 0 || q.Arrival != "") {
			errs = append(errs, errors.New("a jitter or an arrival needs a rate: --qps max has none"))
		}
	}
	return errors.Join(errs...)
}

// parameters are those that a request adds to a configuration's.
func (q Request) parameters(to map[string]string) {
	if len(q.Paths) > 0 {
		parts := make([]string, len(q.Paths))
		for i, p := range q.Paths {
			parts[i] = p.String()
		}
		to["paths"] = strings.Join(parts, ",")
	}
	if len(q.Headers) > 0 {
		to["headers"] = strings.Join(headerLines(q.Headers), "\n")
	}
	if q.Body > 0 {
		to["body"] = strconv.Itoa(q.Body)
	}
	if q.Jitter > 0 {
		to["jitter"] = strconv.FormatFloat(q.Jitter, 'f', -1, 64)
	}
	if q.Arrival != "" && q.Arrival != load.Uniform {
		to["arrival"] = q.Arrival
	}
}

// parseRequest reads what parameters wrote.
func parseRequest(parameters map[string]string) (Request, error) {
	q := Request{Arrival: parameters["arrival"]}
	var errs []error
	if text := parameters["paths"]; text != "" {
		for part := range strings.SplitSeq(text, ",") {
			p, err := ParsePath(part)
			errs = append(errs, err)
			q.Paths = append(q.Paths, p)
		}
	}
	if text := parameters["headers"]; text != "" {
		var err error
		q.Headers, err = ParseHeaders(strings.Split(text, "\n"))
		errs = append(errs, err)
	}
	if text := parameters["body"]; text != "" {
		var err error
		q.Body, err = strconv.Atoi(text)
		errs = append(errs, err)
	}
	if text := parameters["jitter"]; text != "" {
		var err error
		q.Jitter, err = strconv.ParseFloat(text, 64)
		errs = append(errs, err)
	}
	return q, errors.Join(errs...)
}

// ParseHeaders reads lines of "name: value".
func ParseHeaders(lines []string) (map[string]string, error) {
	headers := map[string]string{}
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(l, "\r\n") {
			return nil, fmt.Errorf("header %q: expected NAME: VALUE", l)
		}
		switch strings.ToLower(name) {
		case "content-length", "transfer-encoding", "connection":
			return nil, fmt.Errorf("header %q is the client's own: it follows from the body", name)
		}
		headers[name] = strings.TrimSpace(value)
	}
	return headers, nil
}

func headerLines(headers map[string]string) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		lines = append(lines, name+": "+headers[name])
	}
	return lines
}

// target adds what is sent to a target that leads to a service.
func (q Request) target(t *load.Target) {
	t.Headers = q.Headers
	if q.Body > 0 {
		t.Method, t.Filler = "POST", int64(q.Body)
	}
	base := strings.TrimSuffix(t.URL, "/")
	switch len(q.Paths) {
	case 0:
	case 1:
		t.URL = base + q.Paths[0].Path
	default:
		t.URL = ""
		for _, p := range q.Paths {
			t.URLs = append(t.URLs, load.URL{URL: base + p.Path, Weight: p.Weight})
		}
	}
}
