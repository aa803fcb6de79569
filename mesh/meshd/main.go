package meshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// ErrHelp is returned by Main for --help, after the usage was written.
var ErrHelp = pflag.ErrHelp

// flags are the command line.
type flags struct {
	dir, mesh, logLevel           string
	plaintext, secure, monitoring string
	trustDomain, tokens, rootOut  string

	cluster                    PlaceOptions
	ended                      <-chan struct{} // of the place
	inCluster                  bool
	webhooks, image, imagePull string
}

// Main runs the control plane on the operating system's network, from a folder or,
// by open, in a cluster.
func Main(ctx context.Context, args []string, stderr io.Writer, open OpenPlace) error {
	var c flags
	f := pflag.NewFlagSet("meshd", pflag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.dir, "config", "", "`folder` with Kubernetes and Istio YAML; changes are picked up")
	f.StringVar(&c.mesh, "mesh-config", "", "`file` with Istio's MeshConfig (default: Istio's defaults)")
	f.StringVar(&c.plaintext, "grpc-addr", ":15010", "`address` of plaintext ADS")
	f.StringVar(&c.secure, "secure-grpc-addr", ":15012", "`address` of ADS and the CSR API over TLS; needs --token-auth-file")
	f.StringVar(&c.monitoring, "monitoring-addr", ":15014", "`address` of metrics and debug requests")
	f.StringVar(&c.trustDomain, "trust-domain", "cluster.local", "trust domain of the certificates")
	f.StringVar(&c.tokens, "token-auth-file", "", "`file` of lines TOKEN,NAMESPACE,SERVICEACCOUNT: who may have which certificate; without it there is no CA")
	f.StringVar(&c.rootOut, "root-cert-out", "", "write the CA's root certificate to this `file`")
	f.BoolVar(&c.inCluster, "in-cluster", false, "take configuration and identity from the cluster whose Pod this is")
	f.StringVar(&c.cluster.Kubeconfig, "kubeconfig", "", "take configuration and identity from the cluster of this `file`")
	f.StringVar(&c.cluster.Context, "context", "", "`context` of the kubeconfig (default: its current one)")
	f.StringVar(&c.cluster.Namespace, "namespace", "istio-system", "`namespace` of the control plane in the cluster")
	f.StringVar(&c.webhooks, "webhook-addr", ":15017", "`address` of the webhooks, over TLS; needs --proxy-image")
	f.StringVar(&c.image, "proxy-image", "", "`image` of the sidecars that the webhook injects; without it there are no webhooks")
	f.StringVar(&c.imagePull, "proxy-image-pull-policy", "", "Always, IfNotPresent or Never")
	f.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		if c.ended != nil {
			<-c.ended
		}
	}()
	o, err := c.options(ctx, f, open, stderr)
	if err != nil {
		return err
	}
	m, err := New(o)
	if err != nil {
		return err
	}
	return m.Run(ctx)
}

// options turns flags into Options. A folder with mistakes is refused at the start;
// later the last good state of a file stays in force.
func (c *flags) options(ctx context.Context, f *pflag.FlagSet, open OpenPlace, stderr io.Writer) (Options, error) {
	cluster := c.inCluster || c.cluster.Kubeconfig != ""
	switch {
	case c.dir == "" && !cluster:
		return Options{}, errors.New("--config FOLDER, --kubeconfig FILE or --in-cluster is needed")
	case c.dir != "" && cluster || c.inCluster && c.cluster.Kubeconfig != "":
		return Options{}, errors.New("--config, --kubeconfig and --in-cluster exclude each other")
	case !cluster && (c.image != "" || f.Changed("webhook-addr")):
		return Options{}, errors.New("webhooks are a cluster's: --kubeconfig or --in-cluster is needed")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.logLevel)); err != nil {
		return Options{}, fmt.Errorf("--log-level %s: expected debug, info, warn or error", c.logLevel)
	}
	o := Options{
		Network:       netx.System{},
		PlaintextAddr: c.plaintext, TLSAddr: c.secure, MonitoringAddr: c.monitoring,
		Logger:        slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
		OnDiagnostics: func(ds []config.Diagnostic) { config.Print(stderr, ds) },
	}
	if cluster {
		err := c.place(ctx, f, open, &o)
		return o, err
	}
	var err error
	if o.MeshConfig, err = c.meshConfig(stderr); err != nil {
		return o, err
	}
	if err := c.identity(&o); err != nil {
		return o, err
	}
	o.Source, err = store.NewFolder(ctx, c.dir, store.FolderOptions{OnDiagnostics: o.OnDiagnostics})
	return o, err
}

func (c *flags) meshConfig(stderr io.Writer) (*meshpb.MeshConfig, error) {
	if c.mesh == "" {
		return config.DefaultMeshConfig(), nil
	}
	data, err := os.ReadFile(c.mesh)
	if err != nil {
		return nil, err
	}
	mesh, findings := config.DecodeMeshConfig(c.mesh, 1, data)
	config.Print(stderr, findings)
	for _, d := range findings {
		if d.Severity == config.Error {
			return nil, fmt.Errorf("%s cannot be used", c.mesh)
		}
	}
	return mesh, nil
}

// identity sets up the CA, where there is a list of who may ask it.
func (c *flags) identity(o *Options) error {
	if c.tokens == "" {
		return nil
	}
	data, err := os.ReadFile(c.tokens)
	if err != nil {
		return err
	}
	tokens, err := parseTokens(c.tokens, string(data))
	if err != nil {
		return err
	}
	o.Authenticator = identity.AnyOf(tokens, identity.PeerAuthenticator{})
	if o.CA, err = identity.NewCA(identity.CAOptions{TrustDomain: c.trustDomain}); err != nil {
		return err
	}
	if c.rootOut != "" {
		return os.WriteFile(c.rootOut, o.CA.RootPEM(), 0o644)
	}
	return nil
}

// tokenList is who may have which certificate, by bearer token.
type tokenList map[string]identity.ID

// parseTokens reads lines of TOKEN,NAMESPACE,SERVICEACCOUNT; # begins a comment.
func parseTokens(file, text string) (tokenList, error) {
	tokens := make(tokenList)
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		parts := strings.Split(line, ",")
		if len(parts) != 3 || slices.Contains(parts, "") {
			return nil, fmt.Errorf("%s:%d: expected TOKEN,NAMESPACE,SERVICEACCOUNT", file, i+1)
		}
		tokens[parts[0]] = identity.ID{Namespace: parts[1], ServiceAccount: parts[2]}
	}
	return tokens, nil
}

// Authenticate implements identity.Authenticator.
func (t tokenList) Authenticate(_ context.Context, token string, _ []string) (identity.ID, error) {
	if token == "" {
		return identity.ID{}, identity.ErrNoCredentials
	}
	id, ok := t[token]
	if !ok {
		return identity.ID{}, errors.New("token is not known")
	}
	return id, nil
}
