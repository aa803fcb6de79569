package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
	"github.com/windtunnel-mesh/windtunnel/sim/simnet"
)

// world is a proxy and some servers on a virtual network.
type world struct {
	t         *testing.T
	net       *simnet.Net
	proxy     fabric.Host
	engine    *Engine
	handler   message.Handler
	route     *snapshot.Route
	vhost     *snapshot.VirtualHost
	cluster   *snapshot.Cluster
	events    []upstream.Event
	calls     atomic.Uint64
	servers   []*http.Server
	listeners []net.Listener
	idle      time.Duration // of the servers to come
}

// bubble runs f in a world in virtual time, and takes it down.
func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(simnet.Options{Seed: seed.New(1), Latency: time.Millisecond})}
		w.proxy = w.host("proxy", "10.0.0.1")
		w.engine = New(Options{Network: w.proxy.Network(1337, 1337), Seed: seed.New(1), OnEvent: func(e upstream.Event) { w.events = append(w.events, e) }})
		w.cluster = &snapshot.Cluster{Name: "web", Discovery: snapshot.EDS, ConnectTimeout: 5 * time.Second, Endpoints: []*snapshot.Locality{{}}}
		for i := range w.cluster.Breaker {
			w.cluster.Breaker[i] = snapshot.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}
		}
		root := "/"
		w.route = &snapshot.Route{Name: "r", Match: snapshot.RouteMatch{Prefix: &root},
			Forward: &snapshot.Forward{Clusters: []snapshot.WeightedCluster{{Name: "web", Weight: 1}}}}
		w.vhost = &snapshot.VirtualHost{Name: "v", Domains: []string{"web"}, Routes: []*snapshot.Route{w.route}}
		f(w)
		if err := w.engine.Close(); err != nil {
			t.Error(err)
		}
		for _, s := range w.servers {
			_ = s.Close()
		}
		for _, l := range w.listeners {
			_ = l.Close()
		}
		_ = w.net.Close()
		time.Sleep(time.Minute)
	})
}

func (w *world) host(name, addr string) fabric.Host {
	h, err := w.net.AddHost(name, netip.MustParseAddr(addr))
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// serve adds an endpoint with a server behind it.
func (w *world) serve(f http.HandlerFunc) {
	n := len(w.cluster.Endpoints[0].Endpoints) + 1
	addr := fmt.Sprintf("10.0.0.%d", n+10)
	l, err := w.host("server-"+addr, addr).Network(0, 0).Listen(context.Background(), addr+":80")
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{Handler: f, IdleTimeout: w.idle}
	go func() { _ = s.Serve(l) }()
	w.servers = append(w.servers, s)
	w.endpoint(addr)
}

func (w *world) endpoint(addr string) {
	l := w.cluster.Endpoints[0]
	l.Endpoints = append(l.Endpoints, &snapshot.Endpoint{Address: netip.MustParseAddrPort(addr + ":80"), Weight: 1})
}

// build puts what is configured in force.
func (w *world) build(filters ...snapshot.Filter) {
	w.t.Helper()
	cluster := *w.cluster
	if err := w.engine.UpdateClusters(map[string]*snapshot.Cluster{"web": &cluster}); err != nil {
		w.t.Fatal(err)
	}
	m := &snapshot.HTTPManager{StatPrefix: "test", RouteConfig: "80", Filters: append(filters, snapshot.Router{})}
	h, err := w.engine.Handler(m, map[string]*snapshot.RouteConfig{"80": {Name: "80", VirtualHosts: []*snapshot.VirtualHost{w.vhost}}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.handler = h
}

// result is what a client gets.
type result struct {
	status  int
	body    string
	header  message.Header
	stream  *message.Stream
	reset   bool
	took    time.Duration
	request *message.Request
}

func (w *world) request() *message.Request {
	call := w.calls.Add(1)
	return &message.Request{Method: "GET", Scheme: "http", Authority: "web", Path: "/",
		Header: message.Header{{Name: "x-request-id", Value: fmt.Sprint(call)}},
		Stream: &message.Stream{Start: time.Now(), Conn: &message.Conn{Remote: netip.MustParseAddrPort("10.0.0.9:1000")}}}
}

func (w *world) get() result { return w.do(context.Background(), w.request()) }

func (w *world) do(ctx context.Context, r *message.Request) result {
	p, err := w.handler.Serve(ctx, r)
	out := result{stream: r.Stream, request: r}
	var local *reply.Reply
	switch {
	case errors.As(err, &local):
		out.status, out.body, out.header, out.reset = local.Status, local.Body, local.Header, local.Reset
	case err != nil:
		w.t.Errorf("error is %v", err)
	default:
		out.status, out.header = p.Status, p.Header
		if p.Body != nil {
			b, err := io.ReadAll(p.Body)
			out.body, out.reset = string(b), err != nil
			_ = p.Body.Close()
		}
	}
	out.took = time.Since(r.Stream.Start)
	return out
}

func (w *world) expect(what string, r result, status int, flags, details string) {
	w.t.Helper()
	if r.status != status || r.stream.Flags.String() != flags || r.stream.Details != details {
		w.t.Errorf("%s: got %d %s %s (%s), want %d %s %s", what, r.status, r.stream.Flags, r.stream.Details, r.body, status, flags, details)
	}
}

func (w *world) stat(name string, want int64) {
	w.t.Helper()
	if got := w.engine.Stats.Values()[name]; got != want {
		w.t.Errorf("%s is %d, want %d", name, got, want)
	}
}

func TestForwardsOverKeepAliveConnections(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(rw http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(rw, "%s %s", r.Host, r.URL) })
		w.build()
		for range 3 {
			r := w.get()
			w.expect("get", r, 200, "-", "via_upstream")
			if r.body != "web /" || r.header.Get("x-envoy-upstream-service-time") == "" || r.stream.UpstreamHost.String() != "10.0.0.11:80" ||
				r.stream.Cluster != "web" || r.stream.RouteName != "r" || r.stream.VirtualHost != "v" {
				t.Errorf("result is %+v %+v", r, r.stream)
			}
			time.Sleep(time.Second) // long enough to be watched
		}
		w.stat("cluster.web.upstream_cx_total", 1)
		w.stat("cluster.web.upstream_rq_200", 3)
		w.stat("http.test.downstream_rq_2xx", 3)
		w.stat("http.test.downstream_rq_active", 0)
	})
}

func TestConnectionClosedByItsServerIsNotUsed(t *testing.T) {
	bubble(t, func(w *world) {
		w.idle = 10 * time.Second
		w.serve(func(http.ResponseWriter, *http.Request) {})
		w.build()
		for range 3 {
			w.expect("get", w.get(), 200, "-", "via_upstream")
			time.Sleep(20 * time.Second)
		}
		w.stat("cluster.web.upstream_cx_total", 3)
		w.stat("cluster.web.upstream_cx_destroy_remote", 3)
	})
}

func TestRetries(t *testing.T) {
	bubble(t, func(w *world) {
		n := 0
		for range 2 {
			w.serve(func(rw http.ResponseWriter, r *http.Request) {
				n++
				body, _ := io.ReadAll(r.Body)
				if n%3 != 0 {
					rw.WriteHeader(503)
				}
				_, _ = fmt.Fprintf(rw, "%s %s", r.Header.Get("x-envoy-attempt-count"), body)
			})
		}
		w.vhost.IncludeAttemptCount = true
		w.route.Forward.Retry = &snapshot.Retry{On: []string{"5xx"}, Attempts: 2, PreviousHosts: true, HostAttempts: 5}
		w.build()
		r := w.request()
		r.Method, r.Body, r.ContentLength = "POST", message.NewBytes([]byte("hello"), nil), 5
		got := w.do(context.Background(), r)
		w.expect("third try", got, 200, "-", "via_upstream")
		if got.body != "3 hello" || got.stream.Attempts != 3 {
			t.Errorf("body is %q after %d attempts", got.body, got.stream.Attempts)
		}
		w.stat("cluster.web.upstream_rq_retry", 2)
		w.stat("cluster.web.upstream_rq_retry_success", 1)
		n, w.route.Forward.Retry.Attempts = 0, 1
		w.build()
		w.expect("exhausted", w.get(), 503, "URX", "via_upstream")
		w.stat("cluster.web.upstream_rq_retry_limit_exceeded", 1)
	})
}

func TestFailuresHaveEnvoysWords(t *testing.T) {
	bubble(t, func(w *world) {
		w.build()
		r := w.get()
		w.expect("no endpoints", r, 503, "UH", "no_healthy_upstream")
		if r.body != "no healthy upstream" {
			t.Errorf("body is %q", r.body)
		}
		host := w.host("empty", "10.0.0.11")
		w.endpoint("10.0.0.11")
		w.build()
		r = w.get()
		w.expect("refused", r, 503, "UF", "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}")
		if r.body != "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused" {
			t.Errorf("body is %q", r.body)
		}
		l, err := host.Network(0, 0).Listen(context.Background(), "10.0.0.11:80")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = bufio.NewReader(c).ReadString('\n')
				_ = c.Close()
			}
		}()
		w.expect("reset", w.get(), 503, "UC", "upstream_reset_before_response_started{connection_termination}")
		_ = l.Close()
		w.vhost.Routes[0] = &snapshot.Route{Match: w.route.Match, Forward: &snapshot.Forward{Clusters: []snapshot.WeightedCluster{{Name: "none"}}}}
		w.build()
		w.expect("no cluster", w.get(), 503, "NC", "cluster_not_found")
		other := w.request()
		other.Authority = "other"
		w.expect("no route", w.do(context.Background(), other), 404, "NR", "route_not_found")
		grpc := w.request()
		grpc.Authority = "other"
		grpc.Header.Add("content-type", "application/grpc")
		if got := w.do(context.Background(), grpc); got.status != 200 || got.header.Get("grpc-status") != "12" {
			t.Errorf("gRPC got %+v", got)
		}
	})
}

func TestTimeouts(t *testing.T) {
	bubble(t, func(w *world) {
		slow := 5 * time.Second
		w.serve(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/body" {
				_, _ = io.WriteString(rw, "begun")
				rw.(http.Flusher).Flush()
			}
			time.Sleep(slow)
		})
		w.route.Forward.Timeout = time.Second
		w.build()
		r := w.get()
		w.expect("route timeout", r, 504, "UT", "response_timeout")
		if r.took != time.Second || r.body != "upstream request timeout" {
			t.Errorf("it took %v: %q", r.took, r.body)
		}
		if r.request.Header.Get("x-envoy-expected-rq-timeout-ms") != "1000" {
			t.Errorf("request header is %v", r.request.Header)
		}
		q := w.request()
		q.Header.Add("x-envoy-upstream-rq-timeout-ms", "200")
		if r = w.do(context.Background(), q); r.took != 200*time.Millisecond {
			t.Errorf("the header's timeout took %v", r.took)
		}
		q = w.request()
		q.Path = "/body"
		r = w.do(context.Background(), q)
		if w.expect("in the body", r, 200, "UT", "response_timeout"); !r.reset || r.took != time.Second || r.body != "begun" {
			t.Errorf("broken body is %+v", r)
		}
		w.route.Forward.Retry = &snapshot.Retry{On: []string{"5xx"}, Attempts: 1, PerTryTimeout: 300 * time.Millisecond}
		w.build()
		w.expect("per try", w.get(), 504, "URX,UT", "upstream_per_try_timeout")
		w.stat("cluster.web.upstream_rq_timeout", 3)
		w.stat("cluster.web.upstream_rq_per_try_timeout", 2)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		r = w.do(ctx, w.request())
		cancel()
		if w.expect("client gone", r, 0, "DC", "downstream_remote_disconnect"); !r.reset || r.took != 100*time.Millisecond {
			t.Errorf("cancelled request is %+v", r)
		}
	})
}

func TestBreakerOverflows(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(rw http.ResponseWriter, _ *http.Request) { time.Sleep(100 * time.Millisecond) })
		w.cluster.Breaker[0].MaxConnections, w.cluster.Breaker[0].MaxPending = 1, 1
		w.build()
		var wg sync.WaitGroup
		var mu sync.Mutex
		counts := map[string]int{}
		for i := range 5 {
			time.Sleep(time.Duration(i) * 3 * time.Millisecond)
			q := w.request()
			wg.Go(func() {
				r := w.do(context.Background(), q)
				mu.Lock()
				defer mu.Unlock()
				counts[fmt.Sprintf("%d %s %s", r.status, r.stream.Flags, r.header.Get("x-envoy-overloaded"))]++
				if r.status == 503 && r.stream.Details != "upstream_reset_before_response_started{overflow}" {
					t.Errorf("details are %s", r.stream.Details)
				}
			})
		}
		wg.Wait()
		if len(counts) != 2 || counts["200 - "] != 2 || counts["503 UO true"] != 3 {
			t.Errorf("outcomes are %v", counts)
		}
		w.stat("cluster.web.upstream_rq_pending_overflow", 3)
		w.stat("cluster.web.upstream_cx_active", 1)
		w.stat("cluster.web.upstream_rq_pending_active", 0)
		w.stat("cluster.web.upstream_rq_active", 0)
	})
}

func TestOutlierIsEjectedAndComesBack(t *testing.T) {
	bubble(t, func(w *world) {
		bad := true
		for i := range 3 {
			w.serve(func(rw http.ResponseWriter, _ *http.Request) {
				if i == 0 && bad {
					rw.WriteHeader(500)
				}
			})
		}
		w.cluster.Outlier = &snapshot.Outlier{Consecutive5xx: 3, EnforceConsecutive5xx: 100, Interval: 10 * time.Second,
			BaseEjection: 30 * time.Second, MaxEjection: 300 * time.Second, MaxEjectionPercent: 10}
		w.build()
		failed := 0
		for range 30 {
			if w.get().status == 500 {
				failed++
			}
		}
		if hosts := w.engine.Hosts("web"); failed != 3 || !hosts[0].Ejected || hosts[0].Healthy || hosts[1].Ejected {
			t.Errorf("%d failed, hosts are %+v", failed, hosts)
		}
		bad = false
		time.Sleep(29 * time.Second)
		if !w.engine.Hosts("web")[0].Ejected {
			t.Error("it came back too early")
		}
		time.Sleep(12 * time.Second)
		if w.engine.Hosts("web")[0].Ejected || len(w.events) != 2 || w.events[0].Reason != "consecutive_5xx" {
			t.Errorf("it did not come back: %+v", w.events)
		}
		w.stat("cluster.web.outlier_detection.ejections_active", 0)
	})
}

func TestStateOutlivesUpdatesOfEndpointsOnly(t *testing.T) {
	bubble(t, func(w *world) {
		w.cluster.Discovery = snapshot.EDS
		w.serve(func(http.ResponseWriter, *http.Request) {})
		w.build()
		w.expect("before", w.get(), 200, "-", "via_upstream")
		changed := *w.cluster
		changed.Endpoints = []*snapshot.Locality{{Endpoints: append([]*snapshot.Endpoint{{Address: netip.MustParseAddrPort("10.0.0.99:80"), Health: snapshot.Unhealthy}}, w.cluster.Endpoints[0].Endpoints...)}}
		w.cluster = &changed
		w.build()
		w.expect("after", w.get(), 200, "-", "via_upstream")
		w.stat("cluster.web.upstream_cx_total", 1)
		if hosts := w.engine.Hosts("web"); len(hosts) != 2 || hosts[1].Requests != 2 {
			t.Errorf("hosts are %+v", hosts)
		}
		w.cluster.ConnectTimeout = time.Second
		w.build()
		w.stat("cluster.web.upstream_cx_active", 0) // the old cluster's is drained
		w.expect("replaced", w.get(), 200, "-", "via_upstream")
		w.stat("cluster.web.upstream_cx_total", 2)
		if hosts := w.engine.Hosts("web"); len(hosts) != 2 || hosts[1].Requests != 1 {
			t.Errorf("hosts are %+v", hosts)
		}
		multiplexed := *w.cluster
		multiplexed.HTTP.HTTP2 = true
		if err := w.engine.UpdateClusters(map[string]*snapshot.Cluster{"web": &multiplexed}); err != nil {
			t.Fatal(err)
		}
		w.expect("HTTP/2 to a server of HTTP/1", w.get(), 502, "UPE", "upstream_reset_before_response_started{protocol_error}")
		if err := w.engine.UpdateClusters(nil); err != nil {
			t.Fatal(err)
		}
		w.expect("removed", w.get(), 503, "NC", "cluster_not_found")
		time.Sleep(10 * time.Millisecond) // the last connection goes
		w.stat("cluster.web.upstream_cx_active", 0)
	})
}

func TestFaultAndCORSStandBeforeTheRouter(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(rw http.ResponseWriter, _ *http.Request) {})
		origin := "https://ok.example"
		w.route.PerFilter = map[string]snapshot.Filter{
			"envoy.filters.http.fault": snapshot.Fault{Delay: 7 * time.Second, DelayPercent: 100, AbortGRPC: -1},
			"envoy.filters.http.cors": snapshot.CORS{AllowOrigins: []snapshot.StringMatch{{Exact: &origin}}, AllowMethods: "GET", MaxAge: "60",
				AllowCredentials: true, ForwardUnmatched: true}}
		w.route.Forward.Timeout = time.Second
		filters := []snapshot.Filter{snapshot.GRPCStats{}, snapshot.Fault{AbortGRPC: -1}, snapshot.CORS{}, snapshot.IstioStats{}}
		w.build(filters...)
		q := w.request()
		q.Header.Add("origin", origin)
		r := w.do(context.Background(), q)
		w.expect("delayed", r, 200, "DI", "via_upstream")
		if r.took < 7*time.Second || r.took > 7100*time.Millisecond || r.header.Get("access-control-allow-origin") != origin {
			t.Errorf("delayed request is %+v", r)
		}
		w.route.PerFilter["envoy.filters.http.fault"] = snapshot.Fault{AbortStatus: 418, AbortPercent: 50, AbortGRPC: -1}
		aborted := 0
		for range 400 {
			if r := w.get(); r.status == 418 {
				aborted++
				w.expect("aborted", r, 418, "FI", "fault_filter_abort")
			}
		}
		if aborted < 160 || aborted > 240 {
			t.Errorf("%d of 400 were aborted at 50%%", aborted)
		}
		delete(w.route.PerFilter, "envoy.filters.http.fault")
		q = w.request()
		q.Method = "OPTIONS"
		q.Header = append(q.Header, message.Field{Name: "origin", Value: origin}, message.Field{Name: "access-control-request-method", Value: "GET"})
		if r = w.do(context.Background(), q); r.status != 200 || r.header.Get("access-control-max-age") != "60" || r.stream.UpstreamHost.IsValid() {
			t.Errorf("preflight is %+v", r)
		}
		var prom strings.Builder
		if err := w.engine.Stats.WritePrometheus(&prom); err != nil || !strings.Contains(prom.String(), `istio_requests_total{reporter="source"`) {
			t.Errorf("no istio_requests_total: %v", err)
		}
	})
}

func TestRewritesHeadersMirrorsAndAnswers(t *testing.T) {
	bubble(t, func(w *world) {
		var mu sync.Mutex
		var seen []string
		w.serve(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprintf("%s%s %s %s%s", r.Host, r.URL, r.Header["X-Order"], r.Header.Get("x-envoy-original-path"), r.Header.Get("x-gone")))
		})
		prefix := "/old"
		add := func(v string) snapshot.HeaderOps {
			return snapshot.HeaderOps{Set: []snapshot.HeaderOp{{Name: "x-order", Value: v}}, Remove: []string{"x-gone"}}
		}
		w.route.Match.Prefix = &prefix
		f := w.route.Forward
		f.PrefixRewrite, f.HostRewrite, f.Mirrors = "/new", "inner:80", []snapshot.Mirror{{Cluster: "web", Percent: 100}}
		f.Clusters[0].RequestHeaders = add("cluster")
		w.route.RequestHeaders, w.vhost.RequestHeaders = add("route %REQ(:METHOD)%"), add("vhost")
		direct, redirect := "/direct", "/go"
		w.vhost.Routes = append(w.vhost.Routes,
			&snapshot.Route{Match: snapshot.RouteMatch{Exact: &direct}, Direct: &snapshot.DirectResponse{Status: 418, Body: "tea"}},
			&snapshot.Route{Match: snapshot.RouteMatch{Prefix: &redirect}, Redirect: &snapshot.Redirect{HTTPS: true, PrefixRewrite: "/gone", Status: 302}})
		w.build()
		send := func(path, authority string) result {
			q := w.request()
			q.Path = path
			q.Header.Add("x-gone", "1")
			w.vhost.Domains = []string{"*"}
			q.Authority = authority
			return w.do(context.Background(), q)
		}
		w.vhost.Domains = []string{"*"}
		w.build()
		r := send("/old/a?q=1", "web")
		time.Sleep(time.Second)
		slices.Sort(seen)
		want := "/new/a?q=1 [cluster route GET vhost] /old/a?q=1"
		mu.Lock()
		if !slices.Equal(seen, []string{"inner-shadow:80" + want, "inner:80" + want}) {
			t.Errorf("servers saw %q", seen)
		}
		mu.Unlock()
		if r.stream.OriginalPath != "/old/a?q=1" {
			t.Errorf("original path is %q", r.stream.OriginalPath)
		}
		r = send("/direct", "web")
		if w.expect("direct", r, 418, "-", "direct_response"); r.body != "tea" {
			t.Errorf("body is %q", r.body)
		}
		r = send("/go/x?y=1", "web:80")
		if w.expect("redirect", r, 302, "-", "direct_response"); r.header.Get("location") != "https://web/gone/x?y=1" {
			t.Errorf("location is %q", r.header.Get("location"))
		}
	})
}

// pipeBody is a request body that streams.
type pipeBody struct{ io.ReadCloser }

func (pipeBody) Trailer() message.Header { return nil }

func TestStreamsUploadsAndUpgrades(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("upgrade") != "" {
				c, b, _ := rw.(http.Hijacker).Hijack()
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhi ")
				_, _ = io.Copy(c, b)
				_ = c.Close()
				return
			}
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(rw, n)
		})
		w.build()
		for _, n := range []int64{100_000, 1_000_000, 20_000_000} {
			q := w.request()
			q.Method, q.ContentLength = "POST", -1
			q.Body = pipeBody{io.NopCloser(io.LimitReader(zeros{}, n))}
			if r := w.do(context.Background(), q); r.body != fmt.Sprint(n) {
				t.Errorf("server counted %q of %d", r.body, n)
			}
		}
		q := w.request()
		q.Upgrade = "echo"
		p, err := w.handler.Serve(context.Background(), q)
		if err != nil || p.Status != 101 || p.Upgraded == nil {
			t.Fatalf("upgrade gave %+v, %v", p, err)
		}
		_, _ = io.WriteString(p.Upgraded, "there")
		b := make([]byte, 8)
		if _, err := io.ReadFull(p.Upgraded, b); err != nil || string(b) != "hi there" {
			t.Errorf("tunnel gave %q, %v", b, err)
		}
		_ = p.Upgraded.Close()
		w.stat("cluster.web.upstream_rq_active", 0)
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestConnectForTCP(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(rw http.ResponseWriter, _ *http.Request) {})
		w.build()
		c, to, err := w.engine.Connect(context.Background(), nil, "web")
		if err != nil || to.String() != "10.0.0.11:80" {
			t.Fatalf("connect gave %v, %v", to, err)
		}
		w.stat("cluster.web.upstream_cx_active", 1)
		_ = c.Close()
		w.stat("cluster.web.upstream_cx_active", 0)
		var local *reply.Reply
		if _, _, err = w.engine.Connect(context.Background(), nil, "none"); !errors.As(err, &local) || local.Flag != message.NoClusterFound {
			t.Errorf("error is %v", err)
		}
	})
}

// A request that is on its way when its cluster is replaced ends well, one that comes
// then is not held up by the old one's limits.
func TestAReplacedClusterServesWhatItHas(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
		w.cluster.Breaker[0] = snapshot.Breaker{MaxConnections: 1, MaxPending: 1, MaxRequests: 10}
		w.build()
		var group sync.WaitGroup
		for _, name := range []string{"on its way", "pending"} {
			group.Go(func() { w.expect(name, w.get(), 200, "-", "via_upstream") })
			time.Sleep(100 * time.Millisecond)
		}
		w.cluster.ConnectTimeout = time.Second
		w.build()
		r := w.get()
		w.expect("on the new one", r, 200, "-", "via_upstream")
		if r.took > 1100*time.Millisecond {
			t.Errorf("it took %v", r.took)
		}
		group.Wait()
		w.stat("cluster.web.upstream_cx_active", 1)
	})
}
