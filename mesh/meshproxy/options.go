// Package meshproxy is the data plane as one value: bootstrap, identity, ADS client,
// proxy and admin port, wired together. It is started like Envoy; the arguments are
// the same whether a process, the simulator or an init system starts it.
package meshproxy

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx/broker"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
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
	StatusPort  uint16 // of probes and merged metrics; 0: none

	// AppProbes and AppMetrics are the injector's JSON for the status port.
	AppProbes  string
	AppMetrics string
	// Termination is how the proxy ends when it is asked to; the zero value: at once.
	Termination Termination

	Network       netx.Network
	ReadFile      func(path string) ([]byte, error)
	Seed          seed.Seed
	KeyType       identity.KeyType
	Deterministic bool
	AccessLog     accesslog.Sink
	LogHeader     bool                 // what AccessLog gets has the request's header
	OpenLog       accesslog.Open       // files of configured access logs; nil: none is written
	OnEvent       func(upstream.Event) // ejections
	Getenv        func(string) string  // the environment, for spans' tags; nil: the process's
	Logger        *slog.Logger
	Shared        *compile.Shared // with the other proxies of this process; nil: nothing is

	level *logLevel
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
	var mode, lender string
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
	f.DurationVar(&o.DrainTime, "drain-time", 45*time.Second, "time that connections of a listener get to finish when its configuration changes")
	f.Uint16Var(&o.StatusPort, "status-port", 0, "`port` that answers the application's probes, and metrics of it and the proxy (default: none)")
	f.StringVar(&lender, "network", "", "Unix `socket` of a process that opens this proxy's sockets (default: the operating system)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if lender != "" {
		o.Network = broker.New(lender)
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
	if _, ok := levels[o.LogLevel]; !ok {
		errs = append(errs, fmt.Errorf("--log-level %s: expected debug, info, warning, error or off", o.LogLevel))
	}
	return o, errors.Join(errs...)
}

// logLevel is Envoy's log level on slog.
type logLevel struct{ slog.LevelVar }

// levels are the words of --log-level and /logging.
var levels = map[string]slog.Level{
	"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo,
	"warning": slog.LevelWarn, "warn": slog.LevelWarn, "error": slog.LevelError, "critical": slog.LevelError, "off": slog.LevelError + 4,
}

// change sets the level where one is given, and returns the one in force.
func (l *logLevel) change(word string) (string, error) {
	if word != "" {
		level, ok := levels[word]
		if !ok {
			return "", fmt.Errorf("log level %q: expected debug, info, warning, error or off", word)
		}
		l.Set(level)
	}
	return strings.ToLower(l.Level().String()), nil
}

// defaults fills in the operating system's world.
func (o *Options) defaults() error {
	if o.Network == nil {
		o.Network = netx.System{}
	}
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	o.level = new(logLevel)
	if _, err := o.level.change(cmp.Or(o.LogLevel, "warning")); err != nil {
		return err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: o.level}))
	}
	return nil
}
