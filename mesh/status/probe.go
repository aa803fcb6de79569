package status

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// Probe is the part of Kubernetes' Probe that is about what to ask.
type Probe struct {
	HTTPGet        *httpGet   `json:"httpGet"`
	TCPSocket      *tcpSocket `json:"tcpSocket"`
	GRPC           *grpcCheck `json:"grpc"`
	TimeoutSeconds int        `json:"timeoutSeconds"`
}

type httpGet struct {
	Path        string `json:"path"`
	Port        int    `json:"port"`
	Host        string `json:"host"`
	Scheme      string `json:"scheme"`
	HTTPHeaders []struct {
		Name, Value string
	} `json:"httpHeaders"`
}

type tcpSocket struct {
	Port int    `json:"port"`
	Host string `json:"host"`
}

type grpcCheck struct {
	Port    int    `json:"port"`
	Service string `json:"service"`
}

// passthrough is the source address that capture rules know: connections from it reach
// the application itself, not the inbound listener.
var passthrough = netip.AddrFrom4([4]byte{127, 0, 0, 6})

// passthrough6 is its twin.
var passthrough6 = netip.MustParseAddr("::6")

func parseProbes(text string) (map[string]*Probe, error) {
	if text == "" {
		return nil, nil
	}
	var probes map[string]*Probe
	if err := json.Unmarshal([]byte(text), &probes); err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(probes)) {
		if err := probes[path].validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return probes, nil
}

func (p *Probe) validate() error {
	ports := []int{}
	host := ""
	if p != nil && p.HTTPGet != nil {
		ports, host = append(ports, p.HTTPGet.Port), p.HTTPGet.Host
		if s := p.HTTPGet.Scheme; s != "" && s != "HTTP" && s != "HTTPS" {
			return fmt.Errorf("scheme %q: expected HTTP or HTTPS", s)
		}
	}
	if p != nil && p.TCPSocket != nil {
		ports, host = append(ports, p.TCPSocket.Port), p.TCPSocket.Host
	}
	if p != nil && p.GRPC != nil {
		ports = append(ports, p.GRPC.Port)
	}
	if len(ports) != 1 {
		return errors.New("expected one of httpGet, tcpSocket and grpc")
	}
	if ports[0] < 1 || ports[0] > 65535 {
		return fmt.Errorf("port %d: must be between 1 and 65535", ports[0])
	}
	if host != "" && host != "localhost" {
		return fmt.Errorf("host %q is not supported: probes go to the pod's own address", host)
	}
	return nil
}

// probe asks the application, and answers as it does.
func (s *server) probe(w http.ResponseWriter, r *http.Request) {
	p := s.probes[r.URL.Path]
	if p == nil {
		http.Error(w, "no probe has this path", http.StatusNotFound)
		return
	}
	a := Asker{Network: s.o.Network, From: s.source(), Address: s.o.Address, Header: r.Header}
	status, err := p.Ask(r.Context(), a)
	if err != nil {
		s.o.Logger.Debug("the application's probe failed", "path", r.URL.Path, "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
}

// ParseProbe reads a probe as Kubernetes writes it in JSON.
func ParseProbe(text []byte) (*Probe, error) {
	p := new(Probe)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, err
	}
	return p, p.validate()
}

// Asker is where a probe comes from and where it goes to.
type Asker struct {
	Network netx.Network
	From    netip.Addr // the zero address: the network's own
	Address netip.Addr // of the pod
	Header  http.Header
}

// Ask makes the probe, within its timeout. The status is HTTP's, 200 for a probe of
// another kind that succeeds; an error says why there is none.
func (p *Probe) Ask(ctx context.Context, a Asker) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	switch {
	case p.HTTPGet != nil:
		return a.get(ctx, p.HTTPGet)
	case p.TCPSocket != nil:
		return http.StatusOK, a.connect(ctx, p.TCPSocket.Port)
	default:
		return http.StatusOK, a.check(ctx, p.GRPC)
	}
}

// get asks by HTTP. Kubelet follows redirects on the host that it asks, and takes any certificate.
func (a Asker) get(ctx context.Context, g *httpGet) (int, error) {
	scheme := strings.ToLower(cmp.Or(g.Scheme, "HTTP"))
	path := g.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+a.address(g.Port)+path, nil)
	if err != nil {
		return 0, err
	}
	for name, values := range a.Header {
		if name != "Connection" {
			r.Header[name] = values
		}
	}
	for _, h := range g.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			r.Host = h.Value
		}
		r.Header.Set(h.Name, h.Value)
	}
	client := a.client(&tls.Config{InsecureSkipVerify: true, Time: time.Now})
	client.CheckRedirect = func(next *http.Request, before []*http.Request) error {
		if next.URL.Hostname() != before[0].URL.Hostname() || len(before) >= 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 10<<10)) // only the status counts
	return answer.StatusCode, nil
}

func (a Asker) connect(ctx context.Context, port int) error {
	c, err := a.Network.DialFrom(ctx, a.From, a.address(port))
	if err != nil {
		return err
	}
	return c.Close()
}

// check asks by gRPC's health protocol.
func (a Asker) check(ctx context.Context, g *grpcCheck) error {
	conn, err := grpc.NewClient("passthrough:///"+a.address(g.Port), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return a.Network.DialFrom(ctx, a.From, addr)
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: g.Service})
	if err != nil {
		return err
	}
	if answer.Status != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("the application says that it is %s", answer.Status)
	}
	return nil
}

func (a Asker) address(port int) string {
	return net.JoinHostPort(a.Address.String(), strconv.Itoa(port))
}

func (s *server) source() netip.Addr {
	if s.o.Address.Is4() {
		return passthrough
	}
	return passthrough6
}

// client makes one request.
func (a Asker) client(secure *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: secure,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return a.Network.DialFrom(ctx, a.From, addr)
		}}}
}
