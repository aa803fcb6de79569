// Package remote lets a process elsewhere, in a pod for example, make the calls of
// package load: what to call goes there as JSON, what was found comes back as JSON. Both
// ends are here. Whoever may speak to a Handler may have it call anything: it belongs
// into test workloads only.
//
// It must import nothing of ours but load, mesh/netx and mesh/seed.
package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Call is load.SendOptions or load.Options as JSON: exactly one of Send and Load is
// there. Durations are nanoseconds.
type Call struct {
	// Protocol is http1 (or ""), http2, grpc, tcp or websocket.
	Protocol string `json:"protocol,omitempty"`

	URL     string            `json:"url,omitempty"`
	Method  string            `json:"method,omitempty"`
	URLs    []load.URL        `json:"urls,omitempty"` // in place of URL, for a Load
	Headers map[string]string `json:"headers,omitempty"`
	Body    []byte            `json:"body,omitempty"`
	Filler  int64             `json:"filler,omitempty"`
	// KeepOpen is load.Target's.
	KeepOpen bool      `json:"keepOpen,omitempty"`
	TLS      *load.TLS `json:"tls,omitempty"`
	// Via is a HOST:PORT that is dialled in place of the URL's own: a load balancer's.
	Via     string        `json:"via,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
	// Seed makes the request ids: the same number, the same ids.
	Seed uint64 `json:"seed,omitempty"`

	Send *Send `json:"send,omitempty"`
	Load *Load `json:"load,omitempty"`
}

// Send is a counted few; see load.SendOptions.
type Send struct {
	Count    int           `json:"count,omitempty"`
	Parallel int           `json:"parallel,omitempty"`
	Interval time.Duration `json:"interval,omitempty"`
}

// Load is a load at a rate; see load.Options.
type Load struct {
	QPS         float64       `json:"qps,omitempty"`
	Connections int           `json:"connections,omitempty"`
	Calls       int64         `json:"calls,omitempty"`
	Duration    time.Duration `json:"duration,omitempty"`
	Shape       load.Shape    `json:"shape,omitzero"`
	WarmUp      time.Duration `json:"warmUp,omitempty"`
}

// Outcome is load.Result as JSON. Error tells why not all calls were made; Records
// are those that were.
type Outcome struct {
	Records []load.Record   `json:"records,omitempty"`
	First   *load.Answer    `json:"first,omitempty"`
	Fortio  json.RawMessage `json:"fortio,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// Result gives back what load.Send or load.Run returned at the other end.
func (o *Outcome) Result() (*load.Result, error) {
	var err error
	if o.Error != "" {
		err = errors.New(o.Error)
	}
	return load.Restore(o.Records, o.First, o.Fortio), err
}

// Do makes the calls from this process.
func (c *Call) Do(ctx context.Context, network netx.Network) *Outcome {
	res, err := c.do(ctx, load.Target{
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return network.Dial(ctx, cmp.Or(c.Via, addr))
		},
		Protocol: c.Protocol, URL: c.URL, URLs: c.URLs, Method: c.Method, Headers: c.Headers, Body: c.Body, Filler: c.Filler, KeepOpen: c.KeepOpen, TLS: c.TLS, Timeout: c.Timeout,
		Seed: seed.New(c.Seed),
	})
	o := &Outcome{}
	if res != nil {
		o.Records, o.First, o.Fortio = res.Records, res.First, res.Fortio()
	}
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

func (c *Call) do(ctx context.Context, t load.Target) (*load.Result, error) {
	switch {
	case (c.Send == nil) == (c.Load == nil):
		return nil, errors.New("a call needs send or load, one of the two")
	case c.Send != nil:
		return load.Send(ctx, load.SendOptions{Target: t, Count: c.Send.Count, Parallel: c.Send.Parallel, Interval: c.Send.Interval})
	}
	return load.Run(ctx, load.Options{Target: t, QPS: c.Load.QPS, Connections: c.Load.Connections, Calls: c.Load.Calls, Duration: c.Load.Duration,
		Shape: c.Load.Shape, WarmUp: c.Load.WarmUp})
}

// maxCall limits the JSON of a call, in bytes.
const maxCall = 64 << 20

// Read reads a call; fields that it does not know are refused.
func Read(r io.Reader) (*Call, error) {
	d := json.NewDecoder(io.LimitReader(r, maxCall))
	d.DisallowUnknownFields()
	c := &Call{}
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("a call as JSON: %w", err)
	}
	return c, nil
}

// Handler answers POST /call, and GET /healthz with 200. A call ends with its request.
func Handler(network netx.Network) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /call", func(w http.ResponseWriter, r *http.Request) {
		c, err := Read(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c.Do(r.Context(), network)) // a client that went away is not our error
	})
	return mux
}

// Ask has the Handler at base, http://HOST:PORT, make the calls.
func Ask(ctx context.Context, client *http.Client, base string, c *Call) (*load.Result, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/call", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return nil, fmt.Errorf("%s answers %s: %s", base, answer.Status, bytes.TrimSpace(text))
	}
	var o Outcome
	if err := json.NewDecoder(answer.Body).Decode(&o); err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", base, err)
	}
	return o.Result()
}
