package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/sim/simnet"
)

// greeter says hello first, then gives back what comes until that ends.
func greeter(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.WriteString(c, "hello\n")
			_, _ = io.Copy(c, struct{ io.Reader }{c})
		}()
	}
}

// echoing is a server of HTTP that gives back a POST's content while it comes.
func echoing(l net.Listener) {
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.Host != "db.example:5432" || r.URL.Path != "/tunnel" {
			_ = http.NewResponseController(w).EnableFullDuplex() // the answer does not wait for the content
			w.WriteHeader(http.StatusForbidden)
			return
		}
		c := http.NewResponseController(w)
		_ = c.EnableFullDuplex()
		_, _ = io.WriteString(w, "hello\n")
		_ = c.Flush()
		piece := make([]byte, 1024)
		for {
			n, err := r.Body.Read(piece)
			_, _ = w.Write(piece[:n])
			_ = c.Flush()
			if err != nil {
				return
			}
		}
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	_ = s.Serve(l)
}

// tunnelWorld is client, near proxy, far proxy, server.
type tunnelWorld struct {
	near, far *snapshot.Proxy
	server    func(net.Listener)
	send      string // before anything else
	head      string // what the head of the answer begins with; "": none comes
	lines     bool   // the tunnel is there
	halves    bool   // the client may end its direction alone
	nearLog   string
}

func (w tunnelWorld) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := simnet.New(simnet.Options{Seed: seed.New(1), Latency: time.Millisecond})
		network := func(addr string) netx.Network {
			h, err := world.AddHost(addr, netip.MustParseAddr(addr))
			if err != nil {
				t.Fatal(err)
			}
			return h.Network(0, 0)
		}
		app, near, far, server := network("10.0.0.1"), network("10.0.0.2"), network("10.0.0.3"), network("10.0.0.4")
		l, err := server.Listen(t.Context(), "10.0.0.4:80")
		if err != nil {
			t.Fatal(err)
		}
		go w.server(l)
		var logged []string
		start := func(n netx.Network, s *snapshot.Proxy, sink accesslog.Sink) *proxy.Proxy {
			p := proxy.New(proxy.Options{Network: n, Seed: seed.New(1), AccessLog: sink})
			if err := p.Apply(s); err != nil {
				t.Fatal(err)
			}
			return p
		}
		first := start(near, w.near, func(e accesslog.Entry) {
			logged = append(logged, fmt.Sprint(e.Status, " ", e.Flags, " ", e.Details, " ", e.BytesReceived, "/", e.BytesSent))
		})
		defer first.Close()
		if w.far != nil {
			defer start(far, w.far, nil).Close()
		}
		c, err := app.Dial(t.Context(), "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		w.talk(t, c)
		_ = c.Close()
		time.Sleep(time.Second)
		if got := strings.Join(logged, "; "); got != w.nearLog {
			t.Errorf("the near proxy logs %q, want %q", got, w.nearLog)
		}
		_ = l.Close()
		_ = world.Close()
	})
}

func (w tunnelWorld) talk(t *testing.T, c net.Conn) {
	_, _ = io.WriteString(c, w.send)
	r := bufio.NewReader(c)
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if w.head != "" {
		line, err := r.ReadString('\n')
		if !strings.HasPrefix(line, w.head) {
			t.Fatalf("the answer begins with %q, %v, want %q", line, err, w.head)
		}
		for w.lines && line != "\r\n" && err == nil {
			line, err = r.ReadString('\n')
		}
	}
	if !w.lines {
		if w.head == "" {
			if b, err := io.ReadAll(r); len(b) > 0 {
				t.Errorf("heard %q, %v", b, err)
			}
		}
		return
	}
	if line, err := r.ReadString('\n'); line != "hello\n" {
		t.Fatalf("heard %q, %v", line, err)
	}
	_, _ = io.WriteString(c, "one\n")
	if line, err := r.ReadString('\n'); line != "one\n" {
		t.Fatalf("heard %q, %v", line, err)
	}
	if w.halves {
		_, _ = io.WriteString(c, "two\n")
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		if rest, err := io.ReadAll(r); string(rest) != "two\n" || err != nil {
			t.Errorf("after the end of its own direction the client heard %q, %v", rest, err)
		}
	}
}

// tcpHop forwards connections through tunnels.
func tcpHop(to string, http2 bool, tunnel *snapshot.Tunnel) *snapshot.Proxy {
	s := hop("10.0.0.2:80", to, nil, nil)
	s.Clusters["next"].HTTP.HTTP2 = http2
	s.Listeners[0].Default.HTTP = nil
	s.Listeners[0].Default.TCP = &snapshot.TCPProxy{StatPrefix: "db", MaxConnectAttempts: 1, Clusters: []snapshot.WeightedCluster{{Name: "next", Weight: 1}}, Tunnel: tunnel}
	return s
}

// connectHop takes CONNECTs, and passes them on or ends them.
func connectHop(listen, to string, http2, terminate bool, upgrades ...string) *snapshot.Proxy {
	s := hop(listen, to, nil, nil)
	s.Clusters["next"].HTTP.HTTP2 = http2
	s.Listeners[0].Default.HTTP.Upgrades = upgrades
	s.Listeners[0].Default.HTTP.HTTP2.AllowConnect = true
	r := s.Routes["all"].VirtualHosts[0].Routes[0]
	if r.Forward.Terminate = terminate; len(upgrades) > 0 && upgrades[0] == "connect" {
		r.Match = snapshot.RouteMatch{Connect: true}
	}
	return s
}

func TestTunnels(t *testing.T) {
	const far, server = "10.0.0.3:15006", "10.0.0.4:80"
	db := &snapshot.Tunnel{Hostname: "db.example:5432"}
	post := &snapshot.Tunnel{Hostname: "db.example:5432", Post: true, PostPath: "/tunnel"}
	ends := func() *snapshot.Proxy { return connectHop(far, server, false, true, "connect") }
	refuses := func() *snapshot.Proxy { return connectHop(far, server, false, true) }
	const ask = "CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n"
	const chat = "GET /chat HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for name, w := range map[string]tunnelWorld{
		"TCP in CONNECT of HTTP/1.1":       {near: tcpHop(far, false, db), far: ends(), server: greeter, lines: true, nearLog: "0 -  4/10"},
		"TCP in CONNECT of HTTP/2":         {near: tcpHop(far, true, db), far: ends(), server: greeter, lines: true, halves: true, nearLog: "0 -  8/14"},
		"TCP in POST of HTTP/1.1":          {near: tcpHop(server, false, post), server: echoing, lines: true, halves: true, nearLog: "0 -  8/14"},
		"TCP in POST of HTTP/2":            {near: tcpHop(server, true, post), server: echoing, lines: true, halves: true, nearLog: "0 -  8/14"},
		"TCP in POST that is refused":      {near: tcpHop(server, false, &snapshot.Tunnel{Hostname: "x", Post: true}), server: echoing, nearLog: "0 UF,URX  0/0"},
		"TCP in CONNECT that nobody takes": {near: tcpHop(far, true, db), far: refuses(), server: greeter, nearLog: "0 UF,URX  0/0"},
		"TCP in CONNECT to nobody":         {near: tcpHop("10.0.0.4:81", false, db), server: greeter, nearLog: "0 UF,URX  0/0"},

		"CONNECT, forwarded by HTTP/1.1": {near: connectHop("10.0.0.2:80", far, false, false, "connect"), far: ends(), server: greeter, send: ask, head: "HTTP/1.1 200 OK", lines: true,
			nearLog: "200 DC downstream_remote_disconnect 4/10"},
		"CONNECT, forwarded by HTTP/2": {near: connectHop("10.0.0.2:80", far, true, false, "connect"), far: ends(), server: greeter, send: ask, head: "HTTP/1.1 200 OK", lines: true,
			nearLog: "200 DC downstream_remote_disconnect 4/10"},
		"CONNECT, ended at once": {near: connectHop("10.0.0.2:80", server, false, true, "connect"), server: greeter, send: ask, head: "HTTP/1.1 200 OK", lines: true,
			nearLog: "200 DC downstream_remote_disconnect 4/10"},
		"CONNECT, not allowed": {near: connectHop("10.0.0.2:80", server, false, true), server: greeter, send: ask, head: "HTTP/1.1 403", nearLog: "403 - upgrade_failed 0/0"},
		"CONNECT, to nobody": {near: connectHop("10.0.0.2:80", "10.0.0.4:81", false, true, "connect"), server: greeter, send: ask, head: "HTTP/1.1 503",
			nearLog: "503 UF upstream_reset_before_response_started{remote_connection_failure} 0/98"},
		"other requests match no CONNECT route": {near: connectHop("10.0.0.2:80", server, false, true, "connect"), server: greeter, send: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", head: "HTTP/1.1 404",
			nearLog: "404 NR route_not_found 0/0"},

		"WebSocket by HTTP/2": {near: connectHop("10.0.0.2:80", far, true, false, "websocket"), far: connectHop(far, server, false, false, "websocket"), server: shouter, send: chat, head: "HTTP/1.1 101", lines: true,
			nearLog: "101 DC downstream_remote_disconnect 4/10"},
		"WebSocket by HTTP/2 that is not allowed": {near: connectHop("10.0.0.2:80", far, true, false, "websocket"), far: refuses(), server: shouter, send: chat, head: "HTTP/1.1 403",
			nearLog: "403 - via_upstream 0/0"},
	} {
		t.Run(name, w.run)
	}
}
