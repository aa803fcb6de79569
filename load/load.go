// Package load makes calls into a world, of HTTP/1.1, HTTP/2, gRPC, TCP and WebSocket, and
// records each of them: at a rate with fortio (Run), or a counted few (Send). What comes in is a way to dial
// and what to send; what goes out are records with the intended start, the send and
// the end of every call, histograms on both clocks, and fortio's own JSON. It
// knows neither scenarios nor worlds.
//
// It runs in virtual time: it has no clock, no signal handler and no randomness but
// a seed, and calls never start at one instant.
package load

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Dialer connects to "host:port".
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Target is what a call sends and to where.
type Target struct {
	Dial Dialer
	// Protocol is http1 (or ""), http2, grpc, tcp or websocket.
	Protocol string
	// URL is SCHEME://HOST[:PORT][/path]; the path goes out as it is written. The schemes
	// https, tls and wss mean TLS; http, tcp and ws plain text.
	URL    string
	Method string // "" is GET; for HTTP only
	// URLs, in place of URL, are several that a load's callers walk, or draw where they
	// have weights. For Run only.
	URLs []URL
	// Headers go out sorted by name; Host sets the authority.
	Headers map[string]string
	// Body is sent as it is; for gRPC it is JSON, one value for each message.
	Body []byte
	// Filler, in place of Body, is the size of a body of w's that is written in
	// pieces: however large, it takes no memory.
	Filler int64
	// KeepOpen leaves a connection of TCP open behind the body, until the peer ends it; else
	// it ends one way when the body is out.
	KeepOpen bool
	// RequestID makes the x-request-id of a caller's iter-th call, from 0. nil: RequestIDs(Seed).
	RequestID func(thread int, iter int64) string
	Seed      seed.Seed
	TLS       *TLS          // for an https URL
	Timeout   time.Duration // of one call; 0: 30 s
}

// Record is one call.
type Record struct {
	ID       string
	Thread   int
	Intended time.Time // when the schedule wanted it sent; without a rate, when it was
	Sent     time.Time
	Done     time.Time
	Status   int    // of HTTP; 0 where there was none, as with TCP
	GRPC     string // the status of a gRPC call that was answered: "0" is good
	Error    string // why there was no answer; "": there was one
	Kind     string // what kind of error: one of the Kinds; "" where there was an answer
	Socket   int64  // the connection that carried it, a number of its own among those of the load; 0: none was made
	Protocol string
	Bytes    int64    // of the answer's body
	TLS      *Session // nil in plain text
}

// Answer is what is kept of a step's first answer.
type Answer struct {
	Headers map[string]string // lower-case names; several values joined by ", "
	Body    []byte            // its first MiB
}

// Result is what Run and Send found. Records are in order of their send.
type Result struct {
	Records []Record
	First   *Answer // nil where nothing was answered
	// Sockets are the connections that carried a call.
	Sockets int
	fortio  []byte
}

// Fortio is the result as `fortio load -json` writes it; nil after Send.
func (r *Result) Fortio() []byte { return r.fortio }

// RequestIDs makes ids in the form of a UUID (version 4) out of a seed.
func RequestIDs(s seed.Seed) func(thread int, iter int64) string {
	s = s.Sub("request-id")
	return func(thread int, iter int64) string {
		var b [16]byte
		s.Bytes(strconv.Itoa(thread)+"/"+strconv.FormatInt(iter, 10), b[:])
		b[6] = b[6]&0x0f | 0x40
		b[8] = b[8]&0x3f | 0x80
		h := hex.EncodeToString(b[:])
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
}

// defaultTimeout is the patience of a client that does not say.
const defaultTimeout = 30 * time.Second

// request is a target made ready: everything but the request id.
type request struct {
	target Target
	addr   string // host:port
	method string
	head   string      // up to the id
	id     string      // a fixed x-request-id of the headers, "" for one per call
	tls    *tls.Config // nil in plain text

	// speak makes a call on the caller's connection; answered tells whether any of an
	// answer came back.
	speak     func(c *caller, r *Record) (answered bool, err error)
	authority string
	path      string
	scheme    string // of HTTP
	fields    []field
	rpc       *rpc   // the gRPC method; nil for others
	messages  []byte // of a gRPC call, framed
}

// prepare writes what all calls have in common.
func prepare(t Target) (*request, error) {
	if t.Dial == nil {
		return nil, errors.New("load: no way to dial")
	}
	scheme, rest, ok := strings.Cut(t.URL, "://")
	secure, known := schemes[scheme]
	if !ok || !known {
		return nil, fmt.Errorf("load: %q is no http:// or https:// URL", t.URL)
	}
	authority, path := rest, "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	path, _, _ = strings.Cut(path, "#")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	u, err := url.Parse(scheme + "://" + authority)
	if err != nil || u.Hostname() == "" || strings.ContainsAny(path, " \r\n") {
		return nil, fmt.Errorf("load: %q is no URL of a host and a path", t.URL)
	}
	r := &request{target: t, method: t.Method, addr: net.JoinHostPort(u.Hostname(), portOf(u, secure)), authority: authority, path: path}
	if r.scheme = "http"; secure {
		r.scheme = "https"
	}
	if err := r.secured(u, secure); err != nil {
		return nil, err
	}
	if r.method == "" {
		r.method = "GET"
	}
	if r.target.Timeout == 0 {
		r.target.Timeout = defaultTimeout
	}
	if r.target.RequestID == nil {
		r.target.RequestID = RequestIDs(t.Seed)
	}
	if err := r.choose(); err != nil {
		return nil, err
	}
	r.fields = r.constant()
	r.head = r.method + " " + path + " HTTP/1.1\r\n" + r.headers()
	return r, nil
}

// choose sets what the protocol does.
func (r *request) choose() error {
	switch r.target.Protocol {
	case "", "http1":
		r.speak = http1
	case "http2":
		r.speak = multiplexed
	case "grpc":
		r.method, r.speak = "POST", multiplexed
		return r.prepareRPC()
	case "tcp":
		r.speak = raw
	case "websocket":
		r.method, r.speak = "GET", websocket
	default:
		return fmt.Errorf("load: protocol %q is not known", r.target.Protocol)
	}
	return nil
}

// schemes are those of URLs; true means TLS.
var schemes = map[string]bool{"http": false, "https": true, "tcp": false, "tls": true, "ws": false, "wss": true}

func portOf(u *url.URL, secure bool) string {
	if p := u.Port(); p != "" {
		return p
	}
	if secure {
		return "443"
	}
	return "80"
}

// constant gives the target's headers, which do not change, sorted by name; the
// authority and the request id among them are noted.
func (r *request) constant() []field {
	names := make([]string, 0, len(r.target.Headers))
	list := []field{{"User-Agent", "windtunnel"}}
	for name, value := range r.target.Headers {
		switch strings.ToLower(name) {
		case "host":
			r.authority = value
			continue
		case "x-request-id":
			r.id = value
			continue
		case "user-agent":
			list = nil
		}
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		list = append(list, field{name, r.target.Headers[name]})
	}
	return list
}

type field struct{ name, value string }

// headers writes the head of HTTP/1.1 behind the request line.
func (r *request) headers() string {
	var b strings.Builder
	b.WriteString("Host: " + r.authority + "\r\n")
	for _, f := range r.fields {
		b.WriteString(f.name + ": " + f.value + "\r\n")
	}
	if n := r.target.size(); r.target.Protocol != "websocket" && (n > 0 || r.method == "POST" || r.method == "PUT" || r.method == "PATCH") {
		b.WriteString("Content-Length: " + strconv.FormatInt(n, 10) + "\r\n")
	}
	return b.String()
}

// requestID is the id of a call.
func (r *request) requestID(thread int, iter int64) string {
	if r.id != "" {
		return r.id
	}
	return r.target.RequestID(thread, iter)
}

// collect orders the records of all callers.
func collect(callers []*caller) *Result {
	res := new(Result)
	var first *caller
	sockets := map[int64]bool{}
	for _, c := range callers {
		res.Records = append(res.Records, c.records...)
		if c.first != nil && (first == nil || c.firstSent.Before(first.firstSent)) {
			first = c
		}
	}
	if first != nil {
		res.First = first.first
	}
	sort.SliceStable(res.Records, func(i, j int) bool { return res.Records[i].Sent.Before(res.Records[j].Sent) })
	for _, r := range res.Records {
		if r.Socket != 0 {
			sockets[r.Socket] = true
		}
	}
	res.Sockets = len(sockets)
	return res
}

// Latency is the distribution of the calls' times from their intended starts, in
// nanoseconds with three significant digits. It is what a user sees: a late call waited, too.
func (r *Result) Latency() *hdrhistogram.Histogram {
	return distribution(r.Records, func(c *Record) time.Duration { return c.Done.Sub(c.Intended) })
}

// Service is the same from the calls' sends.
func (r *Result) Service() *hdrhistogram.Histogram {
	return distribution(r.Records, func(c *Record) time.Duration { return c.Done.Sub(c.Sent) })
}

func distribution(records []Record, took func(*Record) time.Duration) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, int64(24*time.Hour), 3)
	for i := range records {
		_ = h.RecordValue(int64(min(max(took(&records[i]), 0), 24*time.Hour))) // cannot fail: in range
	}
	return h
}

// Restore makes a result out of records that were made elsewhere, in any order, and the
// first answer and fortio's JSON that go with them.
func Restore(records []Record, first *Answer, fortio []byte) *Result {
	res := collect([]*caller{{records: records}})
	res.First, res.fortio = first, fortio
	return res
}
