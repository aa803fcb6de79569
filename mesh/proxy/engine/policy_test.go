package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// TestHashPolicies: equal values stay at one host, different ones spread, and what a
// policy does not see makes no difference.
func TestHashPolicies(t *testing.T) {
	header, query := snapshot.HashPolicy{Header: "x-user"}, snapshot.HashPolicy{Query: "user"}
	terminal := header
	terminal.Terminal = true
	for _, c := range []struct {
		name     string
		policies []snapshot.HashPolicy
		request  func(q *message.Request, i int)
		stays    bool
	}{
		{"header, equal", []snapshot.HashPolicy{header}, func(q *message.Request, i int) { q.Header.Add("x-user", "jason") }, true},
		{"header, different", []snapshot.HashPolicy{header}, func(q *message.Request, i int) { q.Header.Add("x-user", fmt.Sprint(i)) }, false},
		{"header, none: at random", []snapshot.HashPolicy{header}, func(*message.Request, int) {}, false},
		{"query, equal", []snapshot.HashPolicy{query}, func(q *message.Request, i int) { q.Path = fmt.Sprintf("/%d?n=%d&user=jason", i, i) }, true},
		{"query, different", []snapshot.HashPolicy{query}, func(q *message.Request, i int) { q.Path = fmt.Sprintf("/?user=%d", i) }, false},
		{"source, equal", []snapshot.HashPolicy{{SourceIP: true}}, func(q *message.Request, i int) {
			q.Stream.Conn.Remote = netip.AddrPortFrom(q.Stream.Conn.Remote.Addr(), uint16(i))
		}, true},
		{"source by x-forwarded-for", []snapshot.HashPolicy{{SourceIP: true}}, func(q *message.Request, i int) {
			q.Stream.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 0)
		}, false},
		{"cookie, equal", []snapshot.HashPolicy{{Cookie: &snapshot.HashCookie{Name: "s"}}}, func(q *message.Request, i int) {
			q.Header.Add("cookie", fmt.Sprintf(`n=%d; s="a=b"`, i))
		}, true},
		{"all count", []snapshot.HashPolicy{header, query}, func(q *message.Request, i int) {
			q.Header.Add("x-user", "jason")
			q.Path = fmt.Sprintf("/?user=%d", i)
		}, false},
		{"a terminal one ends the list", []snapshot.HashPolicy{terminal, query}, func(q *message.Request, i int) {
			q.Header.Add("x-user", "jason")
			q.Path = fmt.Sprintf("/?user=%d", i)
		}, true},
	} {
		for _, balancer := range []snapshot.Balancer{snapshot.RingHash, snapshot.Maglev} {
			bubble(t, func(w *world) {
				for range 3 {
					w.serve(func(http.ResponseWriter, *http.Request) {})
				}
				w.cluster.Balancer, w.cluster.RingMin, w.cluster.RingMax, w.cluster.MaglevSize = balancer, 1024, 8<<20, 65537
				w.route.Forward.HashPolicy = c.policies
				w.build()
				hosts := map[netip.AddrPort]bool{}
				for i := range 30 {
					q := w.request()
					c.request(q, i)
					hosts[w.do(context.Background(), q).stream.UpstreamHost] = true
				}
				if want := map[bool]int{true: 1, false: 3}[c.stays]; len(hosts) != want {
					t.Errorf("%s, balancer %d: %d hosts, want %d", c.name, balancer, len(hosts), want)
				}
			})
		}
	}
}

func TestHashCookieKeepsAClient(t *testing.T) {
	bubble(t, func(w *world) {
		for range 5 {
			w.serve(func(http.ResponseWriter, *http.Request) {})
		}
		w.cluster.Balancer, w.cluster.RingMin, w.cluster.RingMax = snapshot.RingHash, 1024, 8<<20
		w.route.Forward.HashPolicy = []snapshot.HashPolicy{{Cookie: &snapshot.HashCookie{Name: "user", Path: "/shop", TTL: pointer(90 * time.Second),
			Attributes: map[string]string{"SameSite": "Strict", "Secure": ""}}}}
		w.build()
		first := w.get()
		cookie := first.header.Get("set-cookie")
		if !regexp.MustCompile(`^user="[0-9a-f]{16}"; Max-Age=90; Path=/shop; SameSite=Strict; Secure; HttpOnly$`).MatchString(cookie) {
			t.Errorf("cookie is %q", cookie)
		}
		pair, _, _ := strings.Cut(cookie, ";")
		for range 10 {
			again := w.do(context.Background(), w.with("cookie: "+pair))
			if again.stream.UpstreamHost != first.stream.UpstreamHost || again.header.Has("set-cookie") {
				t.Fatalf("the client moved from %v to %v: %v", first.stream.UpstreamHost, again.stream.UpstreamHost, again.header)
			}
		}
	})
}

// TestHashedRetries: a retry goes to the host of the hash again, unless hosts that
// failed are to be avoided.
func TestHashedRetries(t *testing.T) {
	for _, avoid := range []bool{false, true} {
		bubble(t, func(w *world) {
			seen := map[int]int{}
			for i := range 3 {
				w.misbehave(func(int) string { seen[i]++; return "503" })
			}
			w.cluster.Balancer, w.cluster.RingMin, w.cluster.RingMax = snapshot.RingHash, 1024, 8<<20
			w.route.Forward.HashPolicy = []snapshot.HashPolicy{{Header: "x-user"}}
			w.route.Forward.Retry = &snapshot.Retry{On: []string{"5xx"}, Attempts: 2, PreviousHosts: avoid, HostAttempts: 20}
			w.build()
			w.do(context.Background(), w.with("x-user: jason"))
			if want := map[bool]int{false: 1, true: 3}[avoid]; len(seen) != want {
				t.Errorf("avoiding %v: tries by host are %v", avoid, seen)
			}
		})
	}
}

func TestRewrites(t *testing.T) {
	regex := func(pattern, to string) *snapshot.RegexRewrite {
		return &snapshot.RegexRewrite{Pattern: regexp.MustCompile(pattern), Substitution: to}
	}
	for _, c := range []struct {
		name, path, headers string
		forward             snapshot.Forward
		want                string // host, target, x-forwarded-host
	}{
		{"groups", "/service/foo/v1/api?x=1", "", snapshot.Forward{RegexRewrite: regex(`^/service/([^/]+)(/.*)$`, `\2/instance/\1`)}, "web /v1/api/instance/foo?x=1 "},
		{"all matches", "/xxx/one/yyy/one/zzz", "", snapshot.Forward{RegexRewrite: regex(`one`, `two`)}, "web /xxx/two/yyy/two/zzz "},
		{"not the query", "/a?one", "", snapshot.Forward{RegexRewrite: regex(`one`, `two`)}, "web /a?one "},
		{"whole match, and no dollars", "/a", "", snapshot.Forward{RegexRewrite: regex(`a`, `\0-$1\\`)}, `web /a-$1%5C `},
		{"host", "/", "", snapshot.Forward{HostRewrite: "inner"}, "inner / "},
		{"weighted cluster's host goes first", "/", "", snapshot.Forward{HostRewrite: "inner", Clusters: []snapshot.WeightedCluster{{Name: "web", Weight: 1, HostRewrite: "w"}}}, "w / "},
		{"forwarded host", "/", "", snapshot.Forward{HostRewrite: "inner", AppendXForwardedHost: true}, "inner / web"},
		{"forwarded host is appended", "/", "x-forwarded-host: edge", snapshot.Forward{HostRewrite: "inner", AppendXForwardedHost: true}, "inner / edge,web"},
		{"but not twice", "/", "x-forwarded-host: edge, web", snapshot.Forward{HostRewrite: "inner", AppendXForwardedHost: true}, "inner / edge, web"},
		{"by the endpoint's name", "/", "", snapshot.Forward{AutoHostRewrite: true, AppendXForwardedHost: true}, "server.example / web"},
	} {
		bubble(t, func(w *world) {
			got := ""
			w.serve(func(_ http.ResponseWriter, r *http.Request) {
				got = r.Host + " " + r.URL.String() + " " + r.Header.Get("x-forwarded-host")
			})
			w.cluster.Endpoints[0].Endpoints[0].Hostname = "server.example"
			if c.forward.Clusters == nil {
				c.forward.Clusters = w.route.Forward.Clusters
			}
			w.route.Forward = &c.forward
			w.build()
			q := w.with(c.headers)
			q.Path = c.path
			w.do(context.Background(), q)
			if got != c.want {
				t.Errorf("%s: the server saw %q, want %q", c.name, got, c.want)
			}
		})
	}
}

func TestFaultsForGRPC(t *testing.T) {
	for _, c := range []struct {
		name, headers string
		fault         snapshot.Fault
		want          string // status, grpc-status, grpc-message, body
	}{
		{"gRPC status", "content-type: application/grpc", snapshot.Fault{AbortGRPC: 14}, "200 14 fault filter abort "},
		{"gRPC status 0", "content-type: application/grpc+proto", snapshot.Fault{AbortGRPC: 0}, "200 0 fault filter abort "},
		{"gRPC status to others", "", snapshot.Fault{AbortGRPC: 14}, "200   fault filter abort"},
		{"HTTP status to gRPC", "content-type: application/grpc", snapshot.Fault{AbortStatus: 503, AbortGRPC: -1}, "200 14 fault filter abort "},
		{"HTTP status goes first", "", snapshot.Fault{AbortStatus: 503, AbortGRPC: 5}, "503   fault filter abort"},
		{"another header", "", snapshot.Fault{AbortStatus: 503, AbortGRPC: -1, Headers: []snapshot.HeaderMatch{{Name: "x-faulty", Present: true}}}, "204   "},
	} {
		bubble(t, func(w *world) {
			w.misbehave(func(int) string { return "204" })
			c.fault.AbortPercent = 100
			w.build(c.fault)
			r := w.do(context.Background(), w.with(c.headers))
			if got := fmt.Sprintf("%d %s %s %s", r.status, r.header.Get("grpc-status"), r.header.Get("grpc-message"), r.body); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		})
	}
}

// TestFaultsByHeader: the request says what is done to it, up to the filter's share.
func TestFaultsByHeader(t *testing.T) {
	both := snapshot.Fault{AbortGRPC: -1, HeaderDelay: true, HeaderAbort: true, DelayPercent: 100, AbortPercent: 100}
	half := both
	half.AbortPercent = 0
	for _, c := range []struct {
		name, headers string
		fault         snapshot.Fault
		want          string // status, grpc-status, seconds
	}{
		{"nothing asked", "x-other: 1", both, "204  0"},
		{"delay", "x-envoy-fault-delay-request: 3000", both, "204  3"},
		{"delay for nobody", "x-envoy-fault-delay-request: 3000|x-envoy-fault-delay-request-percentage: 0", both, "204  0"},
		{"no number", "x-envoy-fault-delay-request: soon", both, "204  0"},
		{"abort", "x-envoy-fault-abort-request: 418|x-envoy-fault-delay-request: 1000", both, "418  1"},
		{"abort out of range", "x-envoy-fault-abort-request: 99", both, "204  0"},
		{"abort of gRPC", "content-type: application/grpc|x-envoy-fault-abort-grpc-request: 9", both, "200 9 0"},
		{"more than the filter's share", "x-envoy-fault-abort-request: 418|x-envoy-fault-abort-request-percentage: 100", half, "204  0"},
		{"headers that are not asked for", "x-envoy-fault-abort-request: 418", snapshot.Fault{AbortGRPC: -1, AbortPercent: 100}, "204  0"},
	} {
		bubble(t, func(w *world) {
			w.misbehave(func(int) string { return "204" })
			w.build(c.fault)
			q := w.request()
			for _, h := range strings.Split(c.headers, "|") {
				name, value, _ := strings.Cut(h, ": ")
				q.Header.Add(name, value)
			}
			r := w.do(context.Background(), q)
			if got := fmt.Sprintf("%d %s %d", r.status, r.header.Get("grpc-status"), r.took/time.Second); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		})
	}
}

// TestMirrorsWhatStreams: the copy has all of the body; one that cannot keep up, or whose
// original breaks off, is given up and holds nobody up.
func TestMirrorsWhatStreams(t *testing.T) {
	bubble(t, func(w *world) {
		var mu sync.Mutex
		seen := map[string]string{}
		w.serve(func(rw http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.Host, "shadow") && r.URL.Path == "/slow" {
				time.Sleep(time.Minute)
			}
			n, err := io.Copy(io.Discard, r.Body)
			mu.Lock()
			defer mu.Unlock()
			seen[r.Host] = fmt.Sprint(n, err)
		})
		w.route.Forward.Mirrors = []snapshot.Mirror{{Cluster: "web", Percent: 100}}
		w.build()
		send := func(path string, body io.Reader) string {
			clear(seen)
			q := w.request()
			q.Method, q.Path, q.ContentLength, q.Body = "POST", path, -1, pipeBody{io.NopCloser(body)}
			r := w.do(context.Background(), q)
			time.Sleep(2 * time.Minute)
			mu.Lock()
			defer mu.Unlock()
			return fmt.Sprintf("%d %s; %s", r.status, seen["web"], seen["web-shadow"])
		}
		if got := send("/", io.LimitReader(zeros{}, 5_000_000)); got != "200 5000000 <nil>; 5000000 <nil>" {
			t.Errorf("streamed: %s", got)
		}
		if got := send("/slow", io.LimitReader(zeros{}, 50_000_000)); !strings.HasPrefix(got, "200 50000000 <nil>; ") || strings.HasSuffix(got, "50000000 <nil>") {
			t.Errorf("too slow: %s", got)
		}
		broken := io.MultiReader(io.LimitReader(zeros{}, 100_000), iotest.ErrReader(errors.New("gone")))
		if got := send("/", broken); strings.HasSuffix(got, " <nil>") {
			t.Errorf("broken off: %s", got)
		}
	})
}

// TestDecorator: a client's proxy names the operation in the request, a server's proxy
// in the answer where it was told no name; neither reaches an application.
func TestDecorator(t *testing.T) {
	for _, c := range []struct {
		name    string
		inbound bool
		tracing bool
		headers string
		heard   string // by the upstream
		told    string // to the downstream
	}{
		{"client side", false, true, "", "reviews:9080/*", ""},
		{"server side", true, true, "", "", "reviews:9080/*"},
		{"server side, told", true, true, "x-envoy-decorator-operation: mine", "", ""},
		{"no tracing", false, false, "", "", "theirs"},
	} {
		bubble(t, func(w *world) {
			heard := ""
			w.serve(func(rw http.ResponseWriter, r *http.Request) {
				heard = r.Header.Get("x-envoy-decorator-operation")
				if !c.inbound {
					rw.Header().Set("x-envoy-decorator-operation", "theirs")
				}
			})
			w.route.Decorator = "reviews:9080/*"
			w.build()
			m := &snapshot.HTTPManager{StatPrefix: "test", Routes: &snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{w.vhost}}, Filters: []snapshot.Filter{snapshot.Router{}}}
			if c.tracing {
				m.Tracing = &snapshot.Tracing{}
			}
			h, err := w.engine.Handler(m, nil)
			if err != nil {
				t.Fatal(err)
			}
			w.handler = h
			q := w.with(c.headers)
			q.Stream.Conn.Inbound = c.inbound
			if r := w.do(context.Background(), q); heard != c.heard || r.header.Get("x-envoy-decorator-operation") != c.told {
				t.Errorf("%s: upstream heard %q, downstream was told %q", c.name, heard, r.header.Get("x-envoy-decorator-operation"))
			}
		})
	}
}

func TestConnectionLimits(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(http.ResponseWriter, *http.Request) {})
		w.cluster.HTTP.MaxRequestsPerConn = 2
		w.build()
		for range 5 {
			w.expect("get", w.get(), 200, "-", "via_upstream")
		}
		w.stat("cluster.web.upstream_cx_total", 3)
		w.stat("cluster.web.upstream_cx_max_requests", 2)
		w.stat("cluster.web.upstream_cx_active", 1)
		w.cluster.HTTP.MaxRequestsPerConn, w.cluster.HTTP.IdleTimeout = 0, 10*time.Second
		w.build()
		w.get()
		time.Sleep(9900 * time.Millisecond)
		w.get()
		w.stat("cluster.web.upstream_cx_idle_timeout", 0)
		w.stat("cluster.web.upstream_cx_total", 4)
		time.Sleep(9900 * time.Millisecond)
		w.stat("cluster.web.upstream_cx_active", 1)
		time.Sleep(200 * time.Millisecond)
		w.stat("cluster.web.upstream_cx_idle_timeout", 1)
		w.stat("cluster.web.upstream_cx_active", 0)
	})
}

// TestLogicalDNS: the first address counts, for new connections only.
func TestLogicalDNS(t *testing.T) {
	bubble(t, func(w *world) {
		w.idle = time.Minute
		for range 2 {
			w.serve(func(http.ResponseWriter, *http.Request) {})
		}
		both := []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.12")}
		var answer atomic.Pointer[[]netip.Addr]
		answer.Store(&both)
		w.net.SetResolver(func(fabric.Process, string) ([]netip.Addr, error) { return *answer.Load(), nil })
		w.cluster.Discovery, w.cluster.DNSRefresh = snapshot.LogicalDNS, 5*time.Second
		w.cluster.Endpoints = []*snapshot.Locality{{Endpoints: []*snapshot.Endpoint{{Address: netip.MustParseAddrPort("0.0.0.0:80"), Hostname: "web.example", Weight: 1}}}}
		w.build()
		for range 3 {
			if r := w.get(); r.stream.UpstreamHost.String() != "10.0.0.11:80" {
				t.Errorf("%d from %v", r.status, r.stream.UpstreamHost)
			}
		}
		w.stat("cluster.web.membership_total", 1)
		second, none := both[1:], []netip.Addr{}
		answer.Store(&second)
		time.Sleep(6 * time.Second)
		if r := w.get(); r.stream.UpstreamHost.String() != "10.0.0.11:80" {
			t.Errorf("the connection that was there is not used: %v", r.stream.UpstreamHost)
		}
		w.stat("cluster.web.upstream_cx_total", 1)
		w.stat("cluster.web.membership_total", 1)
		answer.Store(&none)
		time.Sleep(6 * time.Second)
		w.expect("no address any more", w.get(), 200, "-", "via_upstream")
		w.stat("cluster.web.upstream_cx_total", 1)
		answer.Store(&second)
		time.Sleep(4 * time.Minute) // the server closes what is idle for long
		if r := w.get(); r.stream.UpstreamHost.String() != "10.0.0.12:80" {
			t.Errorf("a new connection went to %v", r.stream.UpstreamHost)
		}
	})
}
