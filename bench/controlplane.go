package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/client"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// Scale is a size of the control plane's suite.
type Scale struct {
	Services  int
	Endpoints int // of each service
	Proxies   int // ADS clients that connect at once
}

// String names the size: "services=1000/endpoints=5/proxies=100".
func (s Scale) String() string {
	return fmt.Sprintf("services=%d/endpoints=%d/proxies=%d", s.Services, s.Endpoints, s.Proxies)
}

// ParseScale reads SERVICESxENDPOINTSxPROXIES: "1000x5x100".
func ParseScale(text string) (Scale, error) {
	var s Scale
	var rest string
	n, _ := fmt.Sscanf(text+" .", "%dx%dx%d %s", &s.Services, &s.Endpoints, &s.Proxies, &rest) // n tells
	if n != 4 || rest != "." || min(s.Services, s.Endpoints, s.Proxies) < 1 || s.Services > 60000 || s.Endpoints > 250 || s.Proxies > 10000 {
		return s, fmt.Errorf("scale %q: expected SERVICESxENDPOINTSxPROXIES, up to 60000x250x10000", text)
	}
	return s, nil
}

// name is the configuration's.
func (s Scale) name() string { return "controlplane/" + s.String() }

func (s Scale) parameters() map[string]string {
	return map[string]string{"services": strconv.Itoa(s.Services), "endpoints": strconv.Itoa(s.Endpoints), "proxies": strconv.Itoa(s.Proxies)}
}

// controlPlaneMetrics are what a sample of the control plane has.
func controlPlaneMetrics() []result.Metric {
	return []result.Metric{
		{Name: "connect", Unit: "s", Better: result.Lower, Floor: 0.02, About: "until every proxy that connected at once has all of its configuration"},
		{Name: "connect-bytes", Unit: "B", Better: result.Lower, Floor: 1 << 10, About: "received by all proxies"},
		{Name: "controlplane-cpu", Unit: "s", Better: result.Lower, Floor: 0.02, About: "processor time of meshd for all proxies to connect"},
		{Name: "controlplane-memory-peak", Unit: "B", Better: result.Lower, Floor: 4 << 20},
		{Name: "endpoint-change", Unit: "s", Better: result.Lower, Floor: 0.01, About: "from the file's change until the last proxy has it"},
		{Name: "endpoint-change-bytes", Unit: "B", Better: result.Lower, Floor: 1 << 10},
		{Name: "route-change", Unit: "s", Better: result.Lower, Floor: 0.01, About: "from the file's change until the last proxy has it"},
		{Name: "route-change-bytes", Unit: "B", Better: result.Lower, Floor: 1 << 10},
	}
}

// phaseLimit is how long one phase may take before the sample is no result.
const phaseLimit = 2 * time.Minute

// controlPlane takes one sample: meshd as a process, proxies' ADS clients in this one.
func (p Plan) controlPlane(ctx context.Context, b Build, size Scale) (result.Sample, error) {
	dir := filepath.Join(p.Dir, "config")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755), size.write(dir)); err != nil {
		return result.Sample{}, err
	}
	m, err := startMeshd(ctx, filepath.Join(b.Dir, "meshd"), dir)
	if err != nil {
		return result.Sample{}, err
	}
	defer m.stop()
	fleet := newFleet(m.ads)
	defer fleet.stop()
	start := time.Now()
	before, err := read(m.pid())
	if err != nil {
		return result.Sample{}, err
	}
	s := result.Sample{Metrics: map[string]float64{}}
	if err := fleet.connect(ctx, size.Proxies); err != nil {
		return result.Sample{}, err
	}
	if !fleet.settled(ctx, size.Proxies, func(set resource.Set) bool { return len(set[resource.Endpoint]) >= size.Services }) {
		s.Invalid = fmt.Sprintf("not every proxy was served after %s: %s", phaseLimit, m.said)
		return s, nil
	}
	s.Metrics["connect"] = time.Since(start).Seconds()
	s.Metrics["connect-bytes"] = float64(fleet.bytes.Load())
	after, err := read(m.pid())
	if err != nil {
		return result.Sample{}, err
	}
	s.Metrics["controlplane-cpu"] = (after.cpu - before.cpu).Seconds()
	for _, change := range []struct{ metric, file, text string }{
		{"route-change", "route.yaml", routeFile("v2")},
		{"endpoint-change", "slice.yaml", sliceFile(0, size.Endpoints+1)},
	} {
		if err := fleet.change(ctx, &s, size.Proxies, change.metric, filepath.Join(dir, change.file), change.text); err != nil {
			return result.Sample{}, err
		}
	}
	peak, err := peakMemory(m.pid())
	s.Metrics["controlplane-memory-peak"] = float64(peak)
	s.Seconds = time.Since(start).Seconds()
	return s, err
}

// write makes the folder that meshd reads.
func (s Scale) write(dir string) error {
	var b strings.Builder
	for i := range s.Services {
		fmt.Fprintf(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: service-%d, namespace: default}\n"+
			"spec: {clusterIP: 10.%d.%d.%d, ports: [{name: http, port: 8080}]}\n---\n", i, 96+i>>16, i>>8&255, i&255)
		if i > 0 {
			b.WriteString(sliceFile(i, s.Endpoints))
		}
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "services.yaml"), []byte(b.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "slice.yaml"), []byte(sliceFile(0, s.Endpoints)), 0o644),
		os.WriteFile(filepath.Join(dir, "route.yaml"), []byte(routeFile("v1")), 0o644))
}

func sliceFile(service, endpoints int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: service-%d, namespace: default, labels: {kubernetes.io/service-name: service-%d}}\n"+
		"addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints:\n", service, service)
	for e := range endpoints {
		fmt.Fprintf(&b, "- {addresses: [\"10.%d.%d.%d\"], conditions: {ready: true}}\n", 128+service>>8, service&255, e+1)
	}
	return b.String() + "---\n"
}

func routeFile(version string) string {
	return fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: route, namespace: default}\n"+
		"spec:\n  hosts: [service-0]\n  http: [{headers: {request: {set: {x-version: %s}}}, route: [{destination: {host: service-0}}]}]\n", version)
}

// meshdProcess is a control plane that runs.
type meshdProcess struct {
	command *exec.Cmd
	ads     string
	said    *world.Tail
}

func (m *meshdProcess) pid() int { return m.command.Process.Pid }

func (m *meshdProcess) stop() {
	_ = m.command.Process.Signal(syscall.SIGKILL) // nothing of it is needed any more
	_ = m.command.Wait()
}

// startMeshd starts the program and waits until it has read its folder.
func startMeshd(ctx context.Context, program, dir string) (*meshdProcess, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	m := &meshdProcess{ads: fmt.Sprintf("127.0.0.1:%d", ports[0]), said: &world.Tail{}}
	monitoring := fmt.Sprintf("127.0.0.1:%d", ports[1])
	m.command = exec.Command(program, "--config", dir, "--grpc-addr", m.ads, "--monitoring-addr", monitoring)
	m.command.Stderr = m.said
	if err := m.command.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(phaseLimit); ; time.Sleep(5 * time.Millisecond) {
		response, err := http.Get("http://" + monitoring + "/ready")
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return m, nil
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			m.stop()
			return nil, fmt.Errorf("%s was not ready: %s", program, m.said)
		}
	}
}

// freePorts are ports that nobody has at the moment.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// fleet is a number of ADS clients.
type fleet struct {
	address string
	bytes   atomic.Int64
	cancel  context.CancelFunc
	ctx     context.Context
	running sync.WaitGroup
	conns   []*grpc.ClientConn

	mu      sync.Mutex
	sets    map[int]resource.Set
	updates map[int]int
	news    chan struct{} // holds one token while there is news
}

func newFleet(address string) *fleet {
	f := &fleet{address: address, sets: map[int]resource.Set{}, updates: map[int]int{}, news: make(chan struct{}, 1)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

func (f *fleet) stop() {
	f.cancel()
	f.running.Wait()
	for _, c := range f.conns {
		_ = c.Close() // the process at the other end is about to be killed
	}
}

// connect starts n clients at once.
func (f *fleet) connect(ctx context.Context, n int) error {
	for i := range n {
		conn, err := grpc.NewClient("passthrough:///"+f.address, append(client.DialOptions(),
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(counter{&f.bytes}))...)
		if err != nil {
			return err
		}
		f.conns = append(f.conns, conn)
		boot, err := bootstrap.Parse("node", fmt.Appendf(nil, "node: {id: sidecar~10.240.%d.%d~proxy-%d.default~default.svc.cluster.local, cluster: proxy.default, metadata: {NAMESPACE: default}}\n", i>>8, i&255, i))
		if err != nil {
			return err
		}
		c, err := client.New(client.Options{
			Conn: conn, Node: boot.Node, Delta: true, Seed: seed.New(uint64(i)), Logger: slog.New(slog.DiscardHandler),
			OnUpdate: func(set resource.Set) error { f.update(i, set); return nil },
		})
		if err != nil {
			return err
		}
		f.running.Go(func() { _ = c.Run(f.ctx) }) // it ends when it is told to
	}
	return ctx.Err()
}

func (f *fleet) update(i int, set resource.Set) {
	f.mu.Lock()
	f.sets[i] = set
	f.updates[i]++
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// settled waits until n clients have a set that is complete.
func (f *fleet) settled(ctx context.Context, n int, complete func(resource.Set) bool) bool {
	deadline := time.After(phaseLimit)
	done := map[int]bool{}
	for {
		f.mu.Lock()
		for i, set := range f.sets {
			if !done[i] && complete(set) {
				done[i] = true
			}
		}
		f.mu.Unlock()
		if len(done) == n {
			return true
		}
		select {
		case <-f.news:
		case <-deadline:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// change writes a file and waits until every client has one update more.
func (f *fleet) change(ctx context.Context, s *result.Sample, n int, metric, file, text string) error {
	f.mu.Lock()
	before := make(map[int]int, n)
	for i, u := range f.updates {
		before[i] = u
	}
	f.mu.Unlock()
	bytes := f.bytes.Load()
	start := time.Now()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	for {
		f.mu.Lock()
		behind := 0
		for i := range n {
			if f.updates[i] == before[i] {
				behind++
			}
		}
		f.mu.Unlock()
		if behind == 0 {
			break
		}
		select {
		case <-f.news:
		case <-time.After(phaseLimit):
			s.Invalid = fmt.Sprintf("%s: %d of %d proxies had no update after %s", metric, behind, n, phaseLimit)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	s.Metrics[metric] = time.Since(start).Seconds()
	s.Metrics[metric+"-bytes"] = float64(f.bytes.Load() - bytes)
	return nil
}

// counter adds up what a client receives.
type counter struct{ bytes *atomic.Int64 }

func (c counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (c counter) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		c.bytes.Add(int64(in.WireLength))
	}
}

func (c counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (c counter) HandleConn(context.Context, stats.ConnStats) {}
