package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
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

// shouter answers what it hears, and goes away when it hears "bye".
func shouter(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			r := bufio.NewReader(c)
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if q.Header.Get("upgrade") != "websocket" || q.Header.Get("connection") != "Upgrade" {
				_, _ = fmt.Fprint(c, "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n")
				return
			}
			_, _ = fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello\n")
			for {
				line, err := r.ReadString('\n')
				if err != nil || line == "bye\n" {
					return
				}
				_, _ = io.WriteString(c, line)
			}
		}()
	}
}

// An upgraded connection goes client -> proxy -> mTLS -> proxy -> server, in bytes both ways.
func TestWebSocketThroughTwoProxies(t *testing.T) {
	const gone, ended = "101 DC downstream_remote_disconnect", "101 UC upstream_reset_after_response_started{connection_termination}"
	for _, c := range []struct {
		name     string
		upgrades []string
		route    func(*snapshot.Forward)
		talk     func(t *testing.T, c net.Conn, r *bufio.Reader)
		far      string // the entry of the proxy at the server
		near     string
		took     time.Duration
	}{
		{"the client goes", []string{"websocket"}, nil, func(t *testing.T, c net.Conn, r *bufio.Reader) { _ = c.Close() }, gone, gone, 0},
		{"the server goes", []string{"websocket"}, nil, func(t *testing.T, c net.Conn, r *bufio.Reader) {
			_, _ = io.WriteString(c, "bye\n")
			if line, err := r.ReadString('\n'); err != io.EOF {
				t.Errorf("heard %q, %v", line, err)
			}
		}, ended, ended, 0},
		{"nobody says anything", []string{"websocket"}, nil, func(t *testing.T, c net.Conn, r *bufio.Reader) {
			time.Sleep(4 * time.Minute)
			_, _ = io.WriteString(c, "still here\n")
			if line, err := r.ReadString('\n'); line != "still here\n" {
				t.Errorf("heard %q, %v", line, err)
			}
			if line, err := r.ReadString('\n'); err != io.EOF {
				t.Errorf("heard %q, %v", line, err)
			}
		}, gone, "101 SI stream_idle_timeout", 9 * time.Minute},
		{"the route is more patient", []string{"websocket"}, func(f *snapshot.Forward) { f.IdleTimeout = new(time.Duration); f.Timeout = time.Millisecond },
			func(t *testing.T, c net.Conn, r *bufio.Reader) {
				time.Sleep(time.Hour)
				_, _ = io.WriteString(c, "still here\n")
				if line, err := r.ReadString('\n'); line != "still here\n" {
					t.Errorf("heard %q, %v", line, err)
				}
				_ = c.Close()
			}, gone, gone, time.Hour},
		{"longer than the route allows", []string{"websocket"}, func(f *snapshot.Forward) { f.MaxStreamDuration = time.Minute },
			func(t *testing.T, c net.Conn, r *bufio.Reader) { _, _ = r.ReadString('\n') }, "", "101 DT max_duration_timeout", time.Minute},
		{"not allowed", nil, nil, nil, "426 - via_upstream", "426 - via_upstream", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
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
				go shouter(l)
				id, entries := newIdentity(t), map[string][]accesslog.Entry{}
				start := func(name string, n netx.Network, s *snapshot.Proxy) *proxy.Proxy {
					s.Clusters["next"].HTTP.HTTP2 = false
					s.Listeners[0].Default.HTTP.Upgrades = c.upgrades
					if f := s.Routes["all"].VirtualHosts[0].Routes[0].Forward; c.route != nil {
						c.route(f)
					}
					if name == "far" {
						s.Listeners[0].Default.HTTP.StreamIdleTimeout = 0
					}
					p := proxy.New(proxy.Options{Network: n, Seed: seed.New(1).Sub(name), Secrets: id, AccessLog: func(e accesslog.Entry) { entries[name] = append(entries[name], e) }})
					if err := p.Apply(s); err != nil {
						t.Fatal(err)
					}
					return p
				}
				last := start("far", far, hop("10.0.0.3:15006", "10.0.0.4:80", &snapshot.ServerTLS{Certificate: "default", ValidationContext: "ROOTCA", RequireClientCert: true, ALPN: []string{"h2", "http/1.1"}}, nil))
				first := start("near", near, hop("10.0.0.2:80", "10.0.0.3:15006", nil, &snapshot.ClientTLS{Certificate: "default", ValidationContext: "ROOTCA", ALPN: []string{"istio", "http/1.1"}}))
				client, err := app.Dial(t.Context(), "10.0.0.2:80")
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(client, "GET /chat HTTP/1.1\r\nHost: chat\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n")
				if c.talk != nil {
					_, _ = io.WriteString(client, "hi\n") // with the request
				}
				r := bufio.NewReader(client)
				p, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if c.talk != nil {
					if p.StatusCode != 101 || p.Header.Get("upgrade") != "websocket" || p.Header.Get("sec-websocket-accept") != "x" {
						t.Fatalf("answer is %v", p)
					}
					for _, want := range []string{"hello\n", "hi\n"} {
						if line, err := r.ReadString('\n'); line != want {
							t.Fatalf("heard %q, %v", line, err)
						}
					}
					c.talk(t, client, r)
				}
				_ = client.Close()
				time.Sleep(time.Second)
				for name, want := range map[string]string{"far": c.far, "near": c.near} {
					for _, e := range entries[name] {
						if got := fmt.Sprint(e.Status, " ", e.Flags, " ", e.Details); want != "" && got != want || c.talk != nil && (e.BytesSent < 9 || e.BytesReceived < 3) {
							t.Errorf("%s logs %s and %d/%d bytes, want %s", name, got, e.BytesReceived, e.BytesSent, want)
						}
						if name == "near" && e.Duration.Truncate(time.Minute) != c.took {
							t.Errorf("it took %v, want about %v", e.Duration, c.took)
						}
					}
					if len(entries[name]) != 1 && c.talk != nil {
						t.Errorf("%s logs %d entries", name, len(entries[name]))
					}
				}
				values := first.Engine().Stats.Values()
				if n := values["http.in.downstream_cx_upgrades_total"]; (n == 1) != (c.talk != nil) || values["http.in.downstream_cx_upgrades_active"] != 0 || values["http.in.downstream_rq_active"] != 0 {
					t.Errorf("%d upgrades, %d and %d requests active", n, values["http.in.downstream_cx_upgrades_active"], values["http.in.downstream_rq_active"])
				}
				_, _ = first.Close(), last.Close()
				_ = l.Close()
				_ = world.Close()
			})
		})
	}
}
