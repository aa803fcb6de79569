package workload

import (
	"context"
	"errors"
	"fmt"

	"fortio.org/fortio/fhttp"
	"fortio.org/fortio/fnet"
	"fortio.org/fortio/periodic"
	"github.com/spf13/pflag"
)

// fortio plays `fortio load` and `fortio curl` with fortio's own client and numbers.
// Options that it does not have are refused by name.
func (w World) fortio(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] != "load" && args[0] != "curl" {
		return errors.New("fortio: expected load or curl")
	}
	if args[0] == "curl" {
		return w.curl(ctx, append([]string{"-i"}, args[1:]...))
	}
	o := fhttp.HTTPRunnerOptions{RunnerOptions: periodic.RunnerOptions{Out: w.Stdout, Percentiles: []float64{50, 75, 90, 99, 99.9}}}
	f := pflag.NewFlagSet("fortio load", pflag.ContinueOnError)
	f.SetOutput(w.Stderr)
	f.IntVar(&o.NumThreads, "c", 4, "connections")
	f.Float64Var(&o.QPS, "qps", 8, "calls per second, 0 for as many as possible")
	f.Int64Var(&o.Exactly, "n", 0, "calls (default: those of -t)")
	f.DurationVar(&o.Duration, "t", periodic.DefaultRunnerOptions.Duration, "how long")
	f.BoolVar(&o.HTTPOptions.FollowRedirects, "L", false, "follow redirects")
	f.StringArray("H", nil, "a header")
	f.String("loglevel", "", "it has no log")
	f.Bool("quiet", false, "it has no log")
	// Fortio's flags have one dash.
	for i, a := range args {
		if len(a) > 1 && a[0] == '-' && a[1] != '-' {
			args[i] = "-" + a
		}
	}
	if err := f.Parse(args[1:]); err != nil {
		return fmt.Errorf("fortio: %w", err)
	}
	if f.NArg() != 1 {
		return errors.New("fortio load: expected a URL")
	}
	if o.QPS == 0 {
		o.QPS = -1 // that is how the library calls it
	}
	o.URL = f.Arg(0)
	headers, err := f.GetStringArray("H")
	if err != nil {
		return err
	}
	for _, h := range headers {
		if err := o.HTTPOptions.AddAndValidateExtraHeader(h); err != nil {
			return fmt.Errorf("fortio: -H %s: %w", h, err)
		}
	}
	// Fortio looks for IPv4 alone, unless it is told otherwise: a Pod may have IPv6 only.
	if err := fnet.FlagResolveIPType.Set("ip"); err != nil {
		return fmt.Errorf("fortio: %w", err)
	}
	o.HTTPOptions.Init(o.URL)
	_, err = fhttp.RunHTTPTest(&o)
	return err
}
