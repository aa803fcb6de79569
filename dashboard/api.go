package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/dump"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a reader that is gone needs no answer
}

// refuse answers a question that has no answer.
func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// places is GET /api/mesh.
func (b *Board) places(w http.ResponseWriter, r *http.Request) {
	p, err := b.mesh.Places(r.Context())
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	writeJSON(w, struct {
		Title     string   `json:"title"`
		Entrances []string `json:"entrances"`
		*world.Places
	}{b.mesh.Title(), b.mesh.Entrances(), p})
}

// newest is how many rows a page begins with, and gets at once at most.
const newest = 300

// requests is GET /api/requests: the newest rows, oldest first.
func (b *Board) requests(w http.ResponseWriter, _ *http.Request) {
	list, _, _, _ := b.live.since(0)
	writeJSON(w, rows(list))
}

func rows(list []seen) []row {
	list = list[max(0, len(list)-newest):]
	out := make([]row, len(list))
	for i := range list {
		out[i] = list[i].row()
	}
	return out
}

// windowOf is ?window=SECONDS, a minute by default.
func windowOf(r *http.Request) time.Duration {
	n, err := strconv.Atoi(r.URL.Query().Get("window"))
	if err != nil || n < 5 || n > 3600 {
		n = 60
	}
	return time.Duration(n) * time.Second
}

// How often streams tell of new requests at most, and draw the graph.
const (
	batch  = 200 * time.Millisecond
	redraw = time.Second
)

// events is GET /api/events: server-sent events "rows", "events" and "traffic".
func (b *Board) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	tell := func(name string, v any) bool {
		text, err := json.Marshal(v)
		if err != nil {
			return false
		}
		_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, text)
		return err == nil && out.Flush() == nil
	}
	window := windowOf(r)
	var last uint64
	var drawn time.Time
	for {
		list, events, more, ended := b.live.since(last)
		if len(list) > 0 {
			last = max(last, list[len(list)-1].id)
			if !tell("rows", rows(list)) {
				return
			}
		}
		if len(events) > 0 {
			last = max(last, events[len(events)-1].ID)
			if !tell("events", events) {
				return
			}
		}
		if now := time.Now(); now.Sub(drawn) >= redraw {
			drawn = now
			if !tell("traffic", b.live.traffic(window, now)) {
				return
			}
		}
		if ended || !pause(r.Context(), batch) {
			return
		}
		if len(list)+len(events) == 0 { // nothing new: sleep until there is, or the next drawing
			select {
			case <-more:
			case <-r.Context().Done():
				return
			case <-time.After(redraw - batch):
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// request is GET /api/requests/ID: one row, the rows of the same request, and its way as
// explain tells it of the configuration that is there now.
func (b *Board) request(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	list, _, _, _ := b.live.since(0)
	i := slices.IndexFunc(list, func(s seen) bool { return s.id == id })
	if err != nil || i < 0 {
		refuse(w, http.StatusNotFound, fmt.Errorf("request %s is not kept any more", r.PathValue("id")))
		return
	}
	s := &list[i]
	answer := struct {
		Row      row               `json:"row"`
		Same     []row             `json:"same"` // by the request id, in the order of their start
		Headers  map[string]string `json:"headers"`
		Question *spec.Explain     `json:"question,omitempty"`
		Text     string            `json:"text"` // of explain
		Way      *explain.Way      `json:"way,omitempty"`
		Error    string            `json:"error,omitempty"` // why there is no explanation
	}{Row: s.row(), Same: []row{}, Headers: headers(s.head)}
	var same []seen
	for k := range list {
		if list[k].seen.RequestID != "" && run.Untraced(list[k].seen.RequestID) == run.Untraced(s.seen.RequestID) {
			same = append(same, list[k])
		}
	}
	slices.SortStableFunc(same, func(x, y seen) int {
		return x.seen.Time.Add(-x.seen.Duration).Compare(y.seen.Time.Add(-y.seen.Duration))
	})
	for k := range same {
		answer.Same = append(answer.Same, same[k].row())
	}
	answer.Question, err = b.question(r.Context(), s)
	if err == nil {
		answer.Way, answer.Text, err = b.way(r.Context(), answer.Question)
	}
	if err != nil {
		answer.Error = err.Error()
	}
	writeJSON(w, answer)
}

// question is a request that was seen, as explain is asked.
func (b *Board) question(ctx context.Context, s *seen) (*spec.Explain, error) {
	if s.seen.Method == "" {
		return nil, fmt.Errorf("explain follows requests; this is a TCP connection")
	}
	from, address, err := b.mesh.Question(ctx, s.seen.Pod, s.seen.Inbound, s.local)
	if err != nil {
		return nil, err
	}
	scheme := "http://"
	if s.tls && s.row().Side == "gateway" {
		scheme = "https://"
		if host, _, err := net.SplitHostPort(s.seen.Authority + ":"); err == nil && host != "" { // the name that the handshake had
			_, port, _ := net.SplitHostPort(address)
			address = net.JoinHostPort(host, port)
			from = "ingress"
		}
	}
	q := &spec.Explain{From: from, Method: s.seen.Method, URL: scheme + address + s.seen.Path, Headers: headers(s.head)}
	q.Headers["Host"] = s.seen.Authority
	return q, nil
}

// headers are those that the client may have sent: what proxies add is left out.
func headers(h message.Header) map[string]string {
	own := map[string]string{}
	for _, f := range h {
		name := strings.ToLower(f.Name)
		switch {
		case name == "host", name == "x-request-id", name == "traceparent", name == "tracestate", name == "b3", name == "content-length", name == "via",
			strings.HasPrefix(name, "x-forwarded-"), strings.HasPrefix(name, "x-envoy-"), strings.HasPrefix(name, "x-b3-"), strings.HasPrefix(name, ":"):
		default:
			own[name] = f.Value
		}
	}
	return own
}

func (b *Board) way(ctx context.Context, q *spec.Explain) (*explain.Way, string, error) {
	way, err := b.mesh.Way(ctx, q)
	if err != nil {
		return nil, "", err
	}
	var text bytes.Buffer
	err = way.Print(&text)
	return way, text.String(), err
}

// explain is GET /api/explain?from=&url=&method=&header=name:value.
func (b *Board) explain(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := &spec.Explain{From: v.Get("from"), URL: v.Get("url"), Method: v.Get("method"), Headers: map[string]string{}}
	for _, h := range v["header"] {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			refuse(w, http.StatusBadRequest, fmt.Errorf("header %q: expected name:value", h))
			return
		}
		q.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	way, text, err := b.way(r.Context(), q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, map[string]any{"way": way, "text": text})
}

// config is GET /api/proxies/POD/config/PART[?format=json]: a part of what the proxy has.
func (b *Board) config(w http.ResponseWriter, r *http.Request) {
	part := r.PathValue("part")
	if !slices.Contains(dump.Parts, part) {
		refuse(w, http.StatusNotFound, fmt.Errorf("%s: expected one of %s", part, strings.Join(dump.Parts, ", ")))
		return
	}
	text, err := b.mesh.Admin(r.Context(), r.PathValue("pod"), "/config_dump?include_eds")
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	d, err := dump.Read(text)
	var out bytes.Buffer
	if err == nil {
		if r.URL.Query().Get("format") == "json" || part == "bootstrap" {
			err = d.JSON(&out, part)
		} else {
			err = d.Table(&out, part)
		}
	}
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(out.Bytes())
}

// stats is GET /api/proxies/POD/stats[?filter=REGEX][&zeros=1].
func (b *Board) stats(w http.ResponseWriter, r *http.Request) {
	text, err := b.mesh.Admin(r.Context(), r.PathValue("pod"), "/stats?filter="+url.QueryEscape(r.URL.Query().Get("filter")))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for line := range strings.Lines(string(text)) {
		if r.URL.Query().Has("zeros") || !strings.HasSuffix(strings.TrimSpace(line), ": 0") {
			_, _ = w.Write([]byte(line))
		}
	}
}

// order is what POST /api/send takes.
type order struct {
	From    string            `json:"from"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Count   int               `json:"count"` // 1 to 1000
}

// sent is its answer.
type sent struct {
	Count   int               `json:"count"`
	Status  map[string]int    `json:"status"` // by code; "error": no answer
	P50     float64           `json:"p50"`    // ms
	P99     float64           `json:"p99"`
	Error   string            `json:"error"`   // the first
	Headers map[string]string `json:"headers"` // of the first answer
	Body    string            `json:"body"`
}

// send is POST /api/send.
func (b *Board) send(w http.ResponseWriter, r *http.Request) {
	o := order{Method: "GET", Count: 1}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "http" || u.Host == "" {
		refuse(w, http.StatusBadRequest, fmt.Errorf("url %q: expected one like http://reviews:9080/reviews/0", o.URL))
		return
	}
	if o.Count < 1 || o.Count > 1000 {
		refuse(w, http.StatusBadRequest, fmt.Errorf("count %d: expected 1 to 1000", o.Count))
		return
	}
	exchanges, err := b.mesh.Send(r.Context(), &spec.Request{From: o.From, URL: o.URL, Method: o.Method, Headers: o.Headers, Body: o.Body,
		Count: o.Count, Parallel: min(o.Count, 8), Timeout: 30 * time.Second})
	if err != nil && len(exchanges) == 0 {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, sumOf(exchanges))
}

func sumOf(exchanges []run.Exchange) sent {
	s := sent{Count: len(exchanges), Status: map[string]int{}, Headers: map[string]string{}}
	var took []float64
	for i, x := range exchanges {
		status := strconv.Itoa(x.Status)
		if x.Error != "" {
			if status = "error"; s.Error == "" {
				s.Error = x.Error
			}
		}
		s.Status[status]++
		took = append(took, ms(x.Done.Sub(x.Sent)))
		if i == 0 {
			maps.Copy(s.Headers, x.Headers)
			s.Body = x.Body
		}
	}
	s.P50, s.P99 = percentiles(took)
	return s
}
