package meshproxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// anywhere is the system's network, but that who wants to listen on 15020 gets a free port
// of 127.0.0.1, and the test learns which.
type anywhere struct {
	netx.System
	status chan string
}

func (n anywhere) Listen(ctx context.Context, addr string) (net.Listener, error) {
	if !strings.HasSuffix(addr, ":15020") {
		return n.System.Listen(ctx, addr)
	}
	l, err := n.System.Listen(ctx, "127.0.0.1:0")
	if err == nil {
		n.status <- l.Addr().String()
	}
	return l, err
}

// forward is a bootstrap of one listener that forwards to one address.
const forward = `
node: {id: n, cluster: c, metadata: {INSTANCE_IPS: 127.0.0.1}}
static_resources:
  clusters:
  - {name: app, type: STATIC, connect_timeout: 60s, load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}}
  listeners:
  - name: %s
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - {name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: app}}
`

// running is a proxy that runs until stop; ended gets its error.
type running struct {
	proxy *Proxy
	stop  context.CancelFunc
	ended chan error
}

func run(t *testing.T, o Options) *running {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{p, stop, make(chan error, 1)}
	go func() { r.ended <- p.Run(ctx) }()
	t.Cleanup(stop)
	select {
	case <-p.Ready():
	case err := <-r.ended:
		t.Fatal(err)
	}
	return r
}

func TestStatusPortAnswersForTheApplication(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := l.Addr().(*net.TCPAddr).Port
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "app_total 1\n") })}
	go server.Serve(l) // ends with Close
	defer server.Close()
	n := anywhere{status: make(chan string, 1)}
	r := run(t, Options{ConfigYAML: fmt.Sprintf(forward, app, "in"), Network: n, StatusPort: 15020,
		AppProbes:  fmt.Sprintf(`{"/app-health/a/livez": {"tcpSocket": {"port": %d}}}`, app),
		AppMetrics: fmt.Sprintf(`{"port": "%d"}`, app)})
	status := <-n.status
	for path, want := range map[string]string{"/healthz/ready": "", "/app-health/a/livez": "", "/stats/prometheus": "app_total 1"} {
		answer, err := http.Get("http://" + status + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != 200 || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s: %s, %v: %.100s", path, answer.Status, err, body)
		}
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if _, err := New(Options{ConfigYAML: "node: {id: n, cluster: c}", StatusPort: 15020}); err == nil || !strings.Contains(err.Error(), "INSTANCE_IPS") {
		t.Errorf("without an address: %v", err)
	}
}

// echo answers each byte until it is closed.
func echo(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func TestTheProxyOutlivesItsConnections(t *testing.T) {
	r := run(t, Options{ConfigYAML: fmt.Sprintf(forward, echo(t), "in"), Termination: Termination{ExitOnZero: true, Minimum: 50 * time.Millisecond}})
	addr := listener(t, r.proxy)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func() error {
		_, err := c.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	select {
	case err := <-r.ended:
		t.Fatalf("the proxy ended with a connection open: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := say(); err != nil {
		t.Errorf("the connection has ended: %v", err)
	}
	c.Close()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the proxy has not ended")
	}
}

func listener(t *testing.T, p *Proxy) string {
	t.Helper()
	addr, ok := p.proxy.Addr("in")
	if !ok {
		t.Fatal("the listener is not bound")
	}
	return addr.String()
}

func TestTheProxyDrainsForAsLongAsItIsTold(t *testing.T) {
	r := run(t, Options{ConfigYAML: fmt.Sprintf(forward, echo(t), "in"), Termination: Termination{Drain: 200 * time.Millisecond}})
	start := time.Now()
	r.stop()
	if err := <-r.ended; err != nil || time.Since(start) < 200*time.Millisecond {
		t.Errorf("ended after %v: %v", time.Since(start), err)
	}
}

func TestEnvironment(t *testing.T) {
	read := func(env map[string]string) (Options, error) {
		var o Options
		err := o.environment(func(name string) string { return env[name] })
		return o, err
	}
	o, err := read(map[string]string{drainEnv: "7", exitOnZeroEnv: "true", minimumDrainEnv: "3s", appProbersEnv: "p", appMetricsEnv: "m"})
	if want := (Termination{7 * time.Second, true, 3 * time.Second}); err != nil || o.Termination != want || o.AppProbes != "p" || o.AppMetrics != "m" {
		t.Errorf("options are %+v, %v", o, err)
	}
	if o, err := read(nil); err != nil || o.Termination != (Termination{Minimum: 5 * time.Second}) {
		t.Errorf("without variables: %+v, %v", o.Termination, err)
	}
	for name, value := range map[string]string{drainEnv: "5s", exitOnZeroEnv: "perhaps", minimumDrainEnv: "5"} {
		if _, err := read(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name+"="+value) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
