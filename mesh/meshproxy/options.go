// Package meshproxy is the data plane as one value: bootstrap, identity, ADS client,
// proxy and admin port, wired together. It is started like Envoy; the arguments are
// the same whether a process, the simulator or an init system starts it.
package meshproxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Options for New. The first group are the command line's, the second is the world
// that the proxy runs in.
type Options struct {
	ConfigPath  string
	ConfigYAML  string
	Validate    bool // --mode validate: check the configuration and exit
	Concurrency int
	LogLevel    string
	CAAddress   string // host:port of the CSR API; empty: no identity of its own
	TokenPath   string
	RootPath    string // trusted root of the control plane
	DrainTime   time.Duration

	Network       netx.Network
	ReadFile      func(path string) ([]byte, error)
	Seed          seed.Seed
	KeyType       identity.KeyType
	Deterministic bool
	AccessLog     accesslog.Sink
	OpenLog       accesslog.Open       // files of configured access logs; nil: none is written
	OnEvent       func(upstream.Event) // ejections
	Logger        *slog.Logger
}

// Where the injector mounts what a proxy needs.
const (
	defaultTokenPath = "/var/run/secrets/tokens/istio-token"
	defaultRootPath  = "/var/run/secrets/istio/root-cert.pem"
)

// ErrHelp is returned by ParseArgs for --help, after the usage was written.
var ErrHelp = pflag.ErrHelp

// ParseArgs reads a command line.
func ParseArgs(args []string, usage io.Writer) (Options, error) {
	var o Options
	var mode string
	f := pflag.NewFlagSet("meshproxy", pflag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVarP(&o.ConfigPath, "config-path", "c", "", "Envoy bootstrap `file`, YAML or JSON")
	f.StringVar(&o.ConfigYAML, "config-yaml", "", "Envoy bootstrap as `text`, merged over the file")
	f.StringVar(&mode, "mode", "serve", "serve, or validate to check the configuration and exit")
	f.IntVar(&o.Concurrency, "concurrency", 0, "processors to use (0: all)")
	f.StringVarP(&o.LogLevel, "log-level", "l", "warning", "debug, info, warning or error")
	f.StringVar(&o.CAAddress, "ca-address", "", "`host:port` of the control plane that signs this proxy's certificate")
	f.StringVar(&o.TokenPath, "token-path", defaultTokenPath, "`file` with the token that proves who this proxy is")
	f.StringVar(&o.RootPath, "ca-root-path", defaultRootPath, "`file` with the control plane's trusted root")
	f.DurationVar(&o.DrainTime, "drain-time", 5*time.Second, "time that connections get to finish at the end")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var errs []error
	switch mode {
	case "serve":
	case "validate":
		o.Validate = true
	default:
		errs = append(errs, fmt.Errorf("--mode %s: expected serve or validate", mode))
	}
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	if o.ConfigPath == "" && o.ConfigYAML == "" {
		errs = append(errs, errors.New("no configuration: -c FILE or --config-yaml TEXT is needed"))
	}
	if _, err := o.level(); err != nil {
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

func (o *Options) level() (slog.Level, error) {
	switch o.LogLevel {
	case "trace", "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "", "warning", "warn":
		return slog.LevelWarn, nil
	case "error", "critical", "off":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("--log-level %s: expected debug, info, warning or error", o.LogLevel)
}

// defaults fills in the operating system's world.
func (o *Options) defaults() error {
	if o.Network == nil {
		o.Network = netx.System{}
	}
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	if o.Logger == nil {
		level, err := o.level()
		if err != nil {
			return err
		}
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	}
	return nil
}
