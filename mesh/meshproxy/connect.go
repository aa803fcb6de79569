package meshproxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/client"
)

// connections are the gRPC connections of one proxy: the CSR API and ADS share
// one where both are at the same address.
type connections struct {
	network netx.Network
	open    map[string]*grpc.ClientConn
}

func newConnections(n netx.Network) *connections {
	return &connections{network: n, open: make(map[string]*grpc.ClientConn)}
}

// dial returns the connection to the first of some addresses that answers; roots
// is PEM, nil means plaintext.
func (c *connections) dial(addresses []string, roots []byte, serverName string) (*grpc.ClientConn, error) {
	addr := addresses[0]
	if conn := c.open[addr]; conn != nil {
		return conn, nil
	}
	creds := insecure.NewCredentials()
	if roots != nil {
		conf, err := identity.ClientConfig(roots, serverName)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(conf)
	}
	options := append(client.DialOptions(),
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.first(ctx, addresses) }),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
	)
	conn, err := grpc.NewClient("passthrough:///"+addr, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	c.open[addr] = conn
	return conn, nil
}

// first connects to the first address that answers.
func (c *connections) first(ctx context.Context, addresses []string) (net.Conn, error) {
	var errs []error
	for _, addr := range addresses {
		conn, err := c.network.Dial(ctx, addr)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (c *connections) close() error {
	var errs []error
	for _, addr := range slices.Sorted(maps.Keys(c.open)) {
		errs = append(errs, c.open[addr].Close())
	}
	return errors.Join(errs...)
}

// newAgent prepares the proxy's identity, where it is to have one.
func (p *Proxy) newAgent() error {
	if p.o.CAAddress == "" {
		return nil
	}
	roots, err := p.o.ReadFile(p.o.RootPath)
	if err != nil {
		return fmt.Errorf("the control plane's trusted root: %w", err)
	}
	host, _, err := net.SplitHostPort(p.o.CAAddress)
	if err != nil {
		return fmt.Errorf("--ca-address: %w", err)
	}
	conn, err := p.conns.dial([]string{p.o.CAAddress}, roots, host)
	if err != nil {
		return err
	}
	p.agent, err = identity.NewAgent(identity.AgentOptions{
		Conn: conn,
		Token: func() (string, error) {
			token, err := p.o.ReadFile(p.o.TokenPath)
			return strings.TrimSpace(string(token)), err
		},
		Seed: p.o.Seed.Sub("identity"), KeyType: p.o.KeyType, Deterministic: p.o.Deterministic, Logger: p.o.Logger,
	})
	return err
}

// newClient prepares the ADS client, where the bootstrap names a control plane.
func (p *Proxy) newClient() error {
	ads := p.boot.Dynamic
	if ads == nil {
		return nil
	}
	var roots []byte
	var serverName string
	if ads.TLS != nil {
		var err error
		if roots, serverName, err = p.controlPlaneTLS(ads); err != nil {
			return fmt.Errorf("cluster %q: %w", ads.Cluster, err)
		}
	}
	conn, err := p.conns.dial(ads.Addresses, roots, serverName)
	if err != nil {
		return err
	}
	o := client.Options{
		Conn: conn, Node: p.boot.Node, Delta: ads.Delta, OnUpdate: p.update, Static: p.boot.Static, Logger: p.o.Logger, Seed: p.o.Seed.Sub("ads"),
		Names: p.resolver.captured,
	}
	if p.o.Shared != nil {
		o.Same = p.o.Shared.Resource
	}
	p.client, err = client.New(o)
	return err
}

// controlPlaneTLS reads what the connection to the control plane is verified with.
func (p *Proxy) controlPlaneTLS(ads *bootstrap.ADS) (roots []byte, serverName string, err error) {
	if ads.Files.Chain != "" || ads.Files.Key != "" {
		return nil, "", errors.New("a client certificate from files is not supported: the proxy proves itself with its token")
	}
	serverName = ads.TLS.SNI
	for _, m := range ads.TLS.MatchSANs {
		if m.Exact == nil || *m.Exact != serverName {
			return nil, "", errors.New("match_typed_subject_alt_names other than the SNI is not supported")
		}
	}
	roots = ads.TLS.InlineRoots
	if ads.Files.Roots != "" {
		if roots, err = p.o.ReadFile(ads.Files.Roots); err != nil {
			return nil, "", fmt.Errorf("trusted_ca: %w", err)
		}
	}
	if roots == nil {
		return nil, "", errors.New("TLS without a trusted_ca is not supported")
	}
	return roots, serverName, nil
}

// workload is who the proxy stands for, from its node's metadata.
func workload(b *bootstrap.Bootstrap) stats.Workload {
	meta := b.Node.GetMetadata().AsMap()
	text := func(key string) string {
		s, _ := meta[key].(string)
		return s
	}
	labels, _ := meta["LABELS"].(map[string]any)
	label := func(keys ...string) string {
		for _, k := range keys {
			if s, ok := labels[k].(string); ok {
				return s
			}
		}
		return ""
	}
	return stats.Workload{
		Name: text("WORKLOAD_NAME"), Namespace: text("NAMESPACE"), Cluster: text("CLUSTER_ID"),
		App: label("app"), Version: label("version"),
		CanonicalService:  label("service.istio.io/canonical-name", "app"),
		CanonicalRevision: label("service.istio.io/canonical-revision", "version"),
	}
}

// node is what expressions of logs and metrics know of this proxy, as Envoy's xds.node.
func node(b *bootstrap.Bootstrap) map[string]any {
	return map[string]any{"id": b.Node.GetId(), "cluster": b.Node.GetCluster(), "metadata": b.Node.GetMetadata().AsMap()}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
