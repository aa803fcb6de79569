package remote

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

func TestAskHasTheCallsMadeElsewhere(t *testing.T) {
	var bodies int
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && r.Header.Get("X") == "y" && r.ContentLength == 3 {
			bodies++
		}
		w.Header().Set("Served", "yes")
		w.WriteHeader(http.StatusTeapot)
	}))
	defer target.Close()
	agent := httptest.NewServer(Handler(netx.System{}))
	defer agent.Close()
	ask := func(c Call) (n, teapots int, err error) {
		c.URL = target.URL
		res, err := Ask(context.Background(), agent.Client(), agent.URL, &c)
		if err != nil {
			return 0, 0, err
		}
		for _, r := range res.Records {
			if r.Status == http.StatusTeapot && !r.Done.Before(r.Sent) && r.ID != "" {
				teapots++
			}
		}
		if res.First == nil || res.First.Headers["served"] != "yes" || res.Latency().TotalCount() != int64(len(res.Records)) {
			t.Errorf("first answer %+v, latencies of %d of %d", res.First, res.Latency().TotalCount(), len(res.Records))
		}
		if (c.Load != nil) != (res.Fortio() != nil) {
			t.Errorf("fortio's JSON: %s", res.Fortio())
		}
		return len(res.Records), teapots, nil
	}
	if n, teapots, err := ask(Call{Method: "POST", Headers: map[string]string{"X": "y"}, Body: []byte("abc"), Send: &Send{Count: 5, Parallel: 2}}); n != 5 || teapots != 5 || bodies != 5 || err != nil {
		t.Errorf("send: %d records, %d answered, %d bodies, %v", n, teapots, bodies, err)
	}
	shaped := Load{Connections: 2, WarmUp: 20 * time.Millisecond, Shape: load.Shape{Stages: []load.Stage{{From: 100, To: 100, Duration: 100 * time.Millisecond}}, Jitter: 0.2}}
	if n, teapots, err := ask(Call{Load: &shaped}); n != 10 || teapots != 10 || err != nil {
		t.Errorf("a shaped load: %d records, %d answered, %v", n, teapots, err)
	}
	if n, teapots, err := ask(Call{Load: &Load{QPS: 200, Connections: 2, Duration: 100 * time.Millisecond}}); n != 20 || teapots != 20 || err != nil {
		t.Errorf("load: %d records, %d answered, %v", n, teapots, err)
	}
}

// What load can send, a call can ask for.
func TestCallHasTheFieldsOfLoad(t *testing.T) {
	has := func(call reflect.Type, options reflect.Type, except ...string) {
		for i := range options.NumField() {
			name := options.Field(i).Name
			if _, ok := call.FieldByName(name); !ok && !slices.Contains(except, name) {
				t.Errorf("%s has no %s of %s", call, name, options)
			}
		}
	}
	has(reflect.TypeFor[Call](), reflect.TypeFor[load.Target](), "Dial", "RequestID")
	has(reflect.TypeFor[Send](), reflect.TypeFor[load.SendOptions](), "Target")
	has(reflect.TypeFor[Load](), reflect.TypeFor[load.Options](), "Target", "Each", "Warmed")
}

func TestAskReportsMistakes(t *testing.T) {
	agent := httptest.NewServer(Handler(netx.System{}))
	defer agent.Close()
	if _, err := Ask(context.Background(), agent.Client(), agent.URL, &Call{URL: "http://x"}); err == nil || !strings.Contains(err.Error(), "send or load") {
		t.Errorf("neither: %v", err)
	}
	if _, err := Ask(context.Background(), agent.Client(), agent.URL, &Call{URL: "ftp://x", Send: &Send{}}); err == nil || !strings.Contains(err.Error(), "ftp://x") {
		t.Errorf("not HTTP: %v", err)
	}
	if _, err := Ask(context.Background(), agent.Client(), agent.URL, &Call{Protocol: "smtp", URL: "http://x", Send: &Send{}}); err == nil || !strings.Contains(err.Error(), "smtp") {
		t.Errorf("unknown protocol: %v", err)
	}
	if _, err := Read(strings.NewReader(`{"url": "http://x", "qps": 5}`)); err == nil || !strings.Contains(err.Error(), "qps") {
		t.Errorf("unknown field: %v", err)
	}
}
