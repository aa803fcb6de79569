package cmd_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// reverseProxyEnv makes this test binary a net/http/httputil.ReverseProxy: "listen backend".
const reverseProxyEnv = "WINDTUNNEL_BENCH_REVERSE_PROXY"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(reverseProxyEnv)); len(args) == 2 {
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: args[1]})
		proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 1024}
		if err := http.ListenAndServe(args[0], proxy); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const staticYAML = `
static_resources:
  listeners:
  - name: bench
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app}}]}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
`

// BenchmarkProxyProcesses drives 32 keep-alive connections through a proxy process that
// has one processor: meshproxy as `make build` makes it, and net/http/httputil.ReverseProxy in turn (-count
// interleaves them). cpu-µs/op is what the proxy's process itself used.
func BenchmarkProxyProcesses(b *testing.B) {
	app := backend(b)
	dir := b.TempDir()
	meshproxy := filepath.Join(dir, "meshproxy")
	if out, err := exec.Command("make", "-C", "..", "BIN="+dir, meshproxy).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ours := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(ours)
	_, appPort, _ := net.SplitHostPort(app)
	listen, _ := strconv.Atoi(port)
	upstream, _ := strconv.Atoi(appPort)
	file := filepath.Join(dir, "static.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, staticYAML, listen, upstream), 0o644); err != nil {
		b.Fatal(err)
	}
	b.Run("meshproxy", func(b *testing.B) {
		drive(b, exec.Command(meshproxy, "-c", file, "--concurrency", "1"), ours)
	})
	b.Run("ReverseProxy", func(b *testing.B) {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), reverseProxyEnv+"="+ours+" "+app, "GOMAXPROCS=1")
		drive(b, c, ours)
	})
	for _, peer := range []struct {
		name, file, text string
		args             []string
	}{
		{"nginx", "nginx.conf", fmt.Sprintf(nginxConf, dir, dir, app, ours), []string{"-p", dir, "-e", "stderr", "-c"}},
		{"haproxy", "haproxy.cfg", fmt.Sprintf(haproxyConf, ours, app), []string{"-f"}},
	} {
		path, err := exec.LookPath(peer.name)
		if err != nil {
			b.Logf("%s is not installed: not measured", peer.name)
			continue
		}
		config := filepath.Join(dir, peer.file)
		if err := os.WriteFile(config, []byte(peer.text), 0o644); err != nil {
			b.Fatal(err)
		}
		b.Run(peer.name, func(b *testing.B) { drive(b, exec.Command(path, append(peer.args, config)...), ours) })
	}
}

// The peers as their documentation has a proxy that keeps its connections: one
// process, one thread, no access log.
const (
	nginxConf = `
daemon off; master_process off; pid %s/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path %s; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
  keepalive_requests 100000000;
  upstream app { server %s; keepalive 64; keepalive_requests 100000000; }
  server { listen %s; location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; } }
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
)

// answer is what the backend sends: 64 bytes of body.
var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n" + strings.Repeat("x", 64))

// backend answers every request at once, without looking at it.
func backend(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 4096)
				for {
					n, err := c.Read(buffer)
					if err != nil {
						return
					}
					for range bytes.Count(buffer[:n], []byte("\r\n\r\n")) {
						if _, err := c.Write(answer); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// pin gives the proxy a processor of its own, where the system has taskset and a
// second one for the load: then the proxy is what limits the rate.
func pin(b *testing.B, proxy int) {
	if runtime.NumCPU() < 2 {
		return
	}
	others := fmt.Sprintf("1-%d", runtime.NumCPU()-1)
	for _, args := range [][]string{{"-acp", "0", strconv.Itoa(proxy)}, {"-acp", others, strconv.Itoa(os.Getpid())}} {
		if out, err := exec.Command("taskset", args...).CombinedOutput(); err != nil {
			b.Logf("not pinned: %v %s", err, out)
			return
		}
	}
}

// drive runs a proxy and sends it b.N requests.
func drive(b *testing.B, proxy *exec.Cmd, addr string) {
	proxy.Stderr = os.Stderr
	if err := proxy.Start(); err != nil {
		b.Fatal(err)
	}
	pin(b, proxy.Process.Pid)
	defer func() {
		proxy.Process.Signal(os.Interrupt)
		proxy.Wait()
	}()
	const connections = 32
	conns := make([]net.Conn, connections)
	for i := range conns {
		conns[i] = connect(b, addr)
		defer conns[i].Close()
	}
	exchange(b, conns, 4*connections) // warm
	before := cpu(b, proxy.Process.Pid)
	b.ResetTimer()
	exchange(b, conns, b.N)
	b.StopTimer()
	b.ReportMetric(float64((cpu(b, proxy.Process.Pid)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

func connect(b *testing.B, addr string) net.Conn {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}

// exchange sends n requests over all connections, one at a time on each.
func exchange(b *testing.B, conns []net.Conn, n int) {
	request := []byte("GET /bench HTTP/1.1\r\nHost: app\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	var wait sync.WaitGroup
	for i, c := range conns {
		share := n / len(conns)
		if i < n%len(conns) {
			share++
		}
		wait.Go(func() {
			in := bufio.NewReader(c)
			for range share {
				if _, err := c.Write(request); err != nil {
					b.Error(err)
					return
				}
				if err := readAnswer(in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func readAnswer(in *bufio.Reader) error {
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("answered %q", line)
		}
		if len(line) == 2 {
			_, err := in.Discard(64)
			return err
		}
	}
}

// cpu is the processor time that a process has used.
func cpu(b *testing.B, pid int) time.Duration {
	f, err := os.Open(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("the processor time of another process cannot be read here: ", err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const perSecond = 100 // USER_HZ
	return time.Duration(user+system) * time.Second / perSecond
}
