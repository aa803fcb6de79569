package engine

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func everySecond() *snapshot.HealthCheck {
	second := time.Second
	return &snapshot.HealthCheck{Timeout: second / 2, Interval: second, Unhealthy: 2, Healthy: 2, NoTraffic: second, NoTrafficHealthy: second,
		UnhealthyInterval: second, UnhealthyEdge: second, HealthyEdge: second, Reuse: true}
}

func TestHostsThatFailTheirHealthCheckGetNoRequests(t *testing.T) {
	bubble(t, func(w *world) {
		var status, checks atomic.Int64
		status.Store(200)
		serve := func(good func() int) http.HandlerFunc {
			return func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/healthz" {
					checks.Add(1)
					if r.Header.Get("x-check") != "yes" || r.Host != "check.example" || r.UserAgent() != "Envoy/HC" {
						t.Errorf("the check is %v for %s", r.Header, r.Host)
					}
					rw.WriteHeader(good())
				}
			}
		}
		w.serve(serve(func() int { return int(status.Load()) }))
		w.serve(serve(func() int { return 204 }))
		w.cluster.HealthCheck = everySecond()
		w.cluster.HealthCheck.HTTP = &snapshot.HTTPCheck{Host: "check.example", Path: "/healthz", Method: "GET",
			Headers: []snapshot.HeaderOp{{Name: "x-check", Value: "yes"}}, Expected: []snapshot.StatusRange{{From: 200, To: 205}}}
		w.build()
		w.expect("at once: it waits for the first checks", w.get(), 200, "-", "via_upstream")
		if checks.Load() < 2 {
			t.Errorf("%d checks before the first request", checks.Load())
		}
		status.Store(500)
		time.Sleep(1100 * time.Millisecond)
		for range 6 {
			w.expect("one of two", w.get(), 200, "-", "via_upstream")
		}
		if h := w.engine.Hosts("web"); !h[0].CheckFailed || h[0].Healthy || !h[1].Healthy || h[1].Requests < 6 {
			t.Errorf("hosts are %+v", h)
		}
		status.Store(200)
		time.Sleep(1100 * time.Millisecond)
		if w.engine.Hosts("web")[0].Healthy {
			t.Error("one good check was enough")
		}
		time.Sleep(time.Second)
		if !w.engine.Hosts("web")[0].Healthy {
			t.Error("two good checks were not enough")
		}
		w.cluster.HealthCheck = nil
		w.build() // without checks all hosts count as healthy, and nobody asks any more
		before := checks.Load()
		time.Sleep(5 * time.Second)
		if checks.Load() != before || !w.engine.Hosts("web")[0].Healthy {
			t.Errorf("%d checks of a cluster that has none", checks.Load()-before)
		}
	})
}

func TestGRPCAndTCPHealthChecks(t *testing.T) {
	bubble(t, func(w *world) {
		const serving, notServing = "\x00\x00\x00\x00\x02\x08\x01", "\x00\x00\x00\x00\x02\x08\x02"
		var body atomic.Value
		body.Store(serving)
		w.serve2(http2.ServerOptions{Serve: func(_ context.Context, x *http2.ServerStream) {
			var q message.Request
			if err := x.Request(&q); err != nil || q.Path != "/grpc.health.v1.Health/Check" {
				t.Errorf("the check is %v, %v", q, err)
			}
			_ = x.Respond(&message.Response{Status: 200, ContentLength: -1, Header: message.Header{{Name: "content-type", Value: "application/grpc"}},
				Body: message.NewBytes([]byte(body.Load().(string)), message.Header{{Name: "grpc-status", Value: "0"}})})
		}})
		w.cluster.HealthCheck = everySecond()
		w.cluster.HealthCheck.GRPC = &snapshot.GRPCCheck{Service: "shop"}
		w.build()
		time.Sleep(100 * time.Millisecond)
		if !w.engine.Hosts("web")[0].Healthy {
			t.Error("it says SERVING, and is not healthy")
		}
		body.Store(notServing)
		time.Sleep(1100 * time.Millisecond)
		if w.engine.Hosts("web")[0].Healthy {
			t.Error("it says NOT_SERVING, and is healthy")
		}
		w.stat("cluster.web.health_check.failure", 1)
		w.cluster.HealthCheck = everySecond()
		w.cluster.HealthCheck.TCP = &snapshot.TCPCheck{}
		w.build()
		time.Sleep(100 * time.Millisecond)
		if !w.engine.Hosts("web")[0].Healthy {
			t.Error("it can be connected to, and is not healthy")
		}
		w.cluster.HealthCheck = everySecond()
		w.cluster.HealthCheck.TCP = &snapshot.TCPCheck{Send: []byte(http2.Preface), Receive: [][]byte{[]byte("no server says this")}}
		w.build()
		time.Sleep(time.Second)
		if w.engine.Hosts("web")[0].Healthy {
			t.Error("it does not send what is awaited, and is healthy")
		}
	})
}
