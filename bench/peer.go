package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// Peers are other proxies that can stand in the place of the server's sidecar, as plain
// reverse proxies of HTTP/1.1: one process, one thread, kept connections, no log.
// "meshproxy" is this mesh's proxy with the bootstrap that "envoy" gets; "go" is
// net/http/httputil's.
func Peers() []string { return []string{"nginx", "haproxy", "envoy", "go", "meshproxy"} }

func isPeer(name string) bool { return slices.Contains(Peers(), name) }

// missing says why a peer cannot be measured; "" where it can, and for what is no peer.
func missing(name string) string {
	switch name {
	case "nginx", "haproxy", "envoy":
		if _, err := exec.LookPath(name); err != nil {
			return name + " is not installed here: not measured"
		}
	}
	return ""
}

// peer is one that runs.
type peer struct {
	command *exec.Cmd
	said    *world.Tail
	address string
	ended   chan struct{}
}

func (p *peer) pid() int { return p.command.Process.Pid }

// dial connects to the peer, wherever a call wants to go.
func (p *peer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", p.address)
}

const (
	peerStart = time.Minute // on a machine with much else to do
	peerEnd   = 5 * time.Second
	peerPoll  = 5 * time.Millisecond
)

// startPeer runs a peer in front of the first service, which is where dial leads.
func (p Plan) startPeer(ctx context.Context, name string, b Build, dial load.Dialer) (*peer, error) {
	conn, err := dial(ctx, "tcp", "service-0:8080")
	if err != nil {
		return nil, err
	}
	app, err := socketPeer(conn)
	conn.Close()
	if err != nil {
		return nil, err
	}
	return p.peerBefore(ctx, name, b, app)
}

// peerBefore runs a peer in front of a server at an address of this machine.
func (p Plan) peerBefore(ctx context.Context, name string, b Build, app string) (*peer, error) {
	const attempts = 3 // somebody else may take the port meanwhile
	for i := 1; ; i++ {
		running, err := p.tryPeer(ctx, name, b, app)
		if err == nil || i == attempts || ctx.Err() != nil {
			return running, err
		}
	}
}

// socketPeer is where a connection of the world leads on the machine.
func socketPeer(conn net.Conn) (string, error) {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return "", errors.New("the world's connections have no sockets")
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return "", err
	}
	var found string
	var failed error
	err = raw.Control(func(fd uintptr) {
		var to unix.Sockaddr
		if to, failed = unix.Getpeername(int(fd)); failed == nil {
			if to, ok := to.(*unix.SockaddrInet4); ok {
				found = (&net.TCPAddr{IP: to.Addr[:], Port: to.Port}).String()
			}
		}
	})
	return found, errors.Join(err, failed)
}

func (p Plan) tryPeer(ctx context.Context, name string, b Build, app string) (*peer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	l.Close()
	dir, err := os.MkdirTemp(p.Dir, name)
	if err != nil {
		return nil, err
	}
	command, err := p.peerCommand(name, b, dir, address, app)
	if err != nil {
		return nil, err
	}
	r := &peer{command: command, said: &world.Tail{}, address: address, ended: make(chan struct{})}
	command.Stdout, command.Stderr = r.said, r.said
	if err := command.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(r.ended)
		_ = command.Wait() // how it ended is of interest only before it serves
	}()
	if err := r.ready(ctx); err != nil {
		r.stop()
		return nil, fmt.Errorf("%s: %w: %s", name, err, r.said)
	}
	return r, nil
}

func (p *peer) ready(ctx context.Context) error {
	for deadline := time.Now().Add(peerStart); ; {
		conn, err := p.dial(ctx, "", "")
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(peerPoll):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

func (p *peer) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(peerEnd):
		_ = p.command.Process.Kill() // likewise
		<-p.ended
	}
}

// peerCommand writes a peer's configuration.
func (p Plan) peerCommand(name string, b Build, dir, address, app string) (*exec.Cmd, error) {
	var file, text string
	var args []string
	program := name
	switch name {
	case "go":
		if len(p.ReverseProxy) == 0 {
			return nil, errors.New("peer go: no program")
		}
		c := exec.Command(p.ReverseProxy[0], append(slices.Clone(p.ReverseProxy[1:]), address, app)...)
		c.Env = append(os.Environ(), "GOMAXPROCS=1")
		return c, nil
	case "nginx":
		file, text, args = "nginx.conf", fmt.Sprintf(nginxConf, dir, app, address), []string{"-p", dir, "-e", "stderr", "-c"}
	case "haproxy":
		file, text, args = "haproxy.cfg", fmt.Sprintf(haproxyConf, address, app), []string{"-f"}
	default:
		if name == "meshproxy" {
			program = b.meshproxy()
		} else {
			args = []string{"--disable-hot-restart", "--log-level", "error"}
		}
		at, to := strings.LastIndexByte(address, ':'), strings.LastIndexByte(app, ':')
		file, text = "bootstrap.yaml", fmt.Sprintf(plainBootstrap, address[at+1:], app[:to], app[to+1:])
		args = append(args, "--concurrency", "1", "-c")
	}
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return exec.Command(program, append(args, path)...), nil
}

// ServeReverseProxy is the peer "go": it listens, and sends all requests to a server, until
// the process ends.
func ServeReverseProxy(listen, upstream string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: upstream})
	const kept = 1024
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: kept}
	return http.Serve(l, proxy)
}

// The peers as their documentation has a proxy that keeps its connections.
const (
	nginxConf = `
daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  keepalive_requests 100000000; client_max_body_size 0;
  upstream app { server %[2]s; keepalive 256; keepalive_requests 100000000; }
  server { listen %[3]s; location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
`
	haproxyConf = `
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind %s
  default_backend app
backend app
  server app %s
`
	plainBootstrap = `
static_resources:
  listeners:
  - name: peer
    address: {socket_address: {address: 127.0.0.1, port_value: %s}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: peer
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app}}]}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]
`
)
