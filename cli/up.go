package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/dashboard"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/session"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// upOptions are the flags of up.
type upOptions struct {
	files     []string
	name      string
	ports     []string
	dashboard string
	steps     bool
	seed      uint64
	verbose   bool
}

func newUpCommand(s Streams) *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use:   "up -f FILE…",
		Short: "Have a mesh on this machine until Ctrl-C, with a dashboard",
		Long: "Start what manifests, or the resources of a scenario, describe on loopback sockets: control plane, sidecars, gateways and the stand-ins of\n" +
			"their images. Programs of this machine reach the gateway at 127.0.0.1 (--port) and everything else at the addresses that are printed;\n" +
			"the dashboard shows the service graph, requests as they come, and what each proxy has. A file that is saved is applied at once; one\n" +
			"with a mistake is told with its line, and the last good version stays.\n\n" +
			"Ctrl-C ends it. Exit codes: 0 ended once it was up, 2 bad input, 3 a port is taken or the world failed, 130 interrupted before it was up.",
		Example: "  windtunnel up -f bookinfo/manifests/bookinfo.yaml,bookinfo/manifests/bookinfo-gateway.yaml\n" +
			"  windtunnel up -f scenarios/bookinfo/app.yaml --port 9090 --port 9443:443\n" +
			"  curl http://127.0.0.1:8080/productpage",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return up(c.Context(), s, o) },
	}
	f := c.Flags()
	f.StringSliceVarP(&o.files, "filename", "f", nil, "manifests or a scenario: a `file`, a folder, or - for stdin; may be repeated")
	f.StringVar(&o.name, "run", "", "of several scenarios the one whose name matches this regular `expression`")
	f.StringSliceVar(&o.ports, "port", []string{"8080:80"}, "port of 127.0.0.1 that leads to the gateway's: `LOCAL[:REMOTE]` (REMOTE is 80, LOCAL 0 any that is free); may be repeated")
	f.StringVar(&o.dashboard, "dashboard", "127.0.0.1:8090", "`address` of the dashboard; off: none")
	f.BoolVar(&o.steps, "steps", false, "run the scenario's steps, too; the world stays as they leave it")
	f.Uint64Var(&o.seed, "seed", 1, "seed of names and of what is drawn")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "logs of the control plane and the proxies on stderr")
	return c
}

func up(ctx context.Context, s Streams, o upOptions) error {
	options, err := o.session(s)
	if err != nil {
		return &exit{codeUsage, err}
	}
	var board *dashboard.Board
	if o.dashboard != "off" {
		if board, err = dashboard.Listen(ctx, o.dashboard); err != nil {
			return unavailable(err, "--dashboard")
		}
		defer board.Close()
		options.Watcher = board
	}
	fmt.Fprintf(s.Err, "starting the mesh of %s\n", strings.Join(o.files, ", "))
	start := time.Now()
	w, err := session.Open(ctx, options)
	if err != nil {
		return notUp(ctx, s.Err, err)
	}
	if err := present(ctx, s, w, board, time.Since(start)); err != nil {
		return errors.Join(&exit{codeEnvironment, err}, w.Close())
	}
	if board != nil {
		board.Serve(shownMesh{w.World(), w, strings.Join(o.files, ", ")})
	}
	if o.steps {
		tellSteps(s.Err, w.Steps(ctx))
	}
	<-ctx.Done()
	fmt.Fprintln(s.Err, "\nending")
	if board != nil {
		_ = board.Close() // its readers ask the world
	}
	if err := w.Close(); err != nil {
		return &exit{codeEnvironment, err}
	}
	return nil
}

// shownMesh is a session as the dashboard sees it.
type shownMesh struct {
	*world.World
	session *session.Session
	title   string
}

var _ dashboard.Mesh = shownMesh{}

// Title implements dashboard.Mesh.
func (m shownMesh) Title() string { return m.title }

// Entrances implements dashboard.Mesh.
func (m shownMesh) Entrances() []string {
	list := []string{}
	for _, d := range m.session.Doors() {
		list = append(list, doorURL(d))
	}
	return list
}

// Places implements dashboard.Mesh.
func (m shownMesh) Places(ctx context.Context) (*world.Places, error) { return m.session.Places(ctx) }

func doorURL(d session.Door) string {
	scheme := "http"
	if d.Remote == 443 {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d/", scheme, d.Local)
}

// session checks the flags.
func (o upOptions) session(s Streams) (session.Options, error) {
	options := session.Options{Source: session.Source{Paths: o.files, In: s.In}, Seed: o.seed, Steps: o.steps,
		Logger:   slog.New(slog.DiscardHandler),
		OnReport: func(r session.Report) { tellReport(s.Err, r) }}
	if len(o.files) == 0 {
		return options, errors.New("no manifests and no scenario: -f FILE is needed")
	}
	if o.name != "" {
		name, err := regexp.Compile(o.name)
		if err != nil {
			return options, fmt.Errorf("--run: %w", err)
		}
		options.Source.Name = name
	}
	for _, text := range o.ports {
		d, err := session.ParseDoor(text)
		if err != nil {
			return options, fmt.Errorf("--port %w", err)
		}
		options.Doors = append(options.Doors, d)
	}
	if o.dashboard != "off" {
		if _, err := netip.ParseAddrPort(o.dashboard); err != nil {
			return options, fmt.Errorf("--dashboard %s: expected an address and a port like 127.0.0.1:8090, or off", o.dashboard)
		}
	}
	if o.verbose {
		options.Logger = slog.New(slog.NewTextHandler(s.Err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return options, nil
}

// notUp says why a world did not start.
func notUp(ctx context.Context, w io.Writer, err error) error {
	var problems *session.ProblemsError
	var refused *session.RefusedError
	var opening *net.OpError
	switch {
	case ctx.Err() != nil:
		return &exit{codeInterrupted, errors.New("interrupted")}
	case errors.As(err, &problems):
		for _, p := range problems.Problems {
			fmt.Fprintln(w, p.Detail())
		}
		return &exit{codeUsage, err}
	case errors.As(err, &refused) && refused.Report.Err != nil:
		return &exit{codeEnvironment, refused.Report.Err}
	case errors.As(err, &refused):
		config.Print(w, refused.Report.Findings)
		for _, text := range refused.Report.Rejected {
			fmt.Fprint(w, text)
		}
		return &exit{codeUsage, errors.New("nothing was started")}
	case errors.As(err, &opening):
		return unavailable(err, "--port")
	}
	return &exit{codeUsage, err}
}

// unavailable is a port that cannot be had.
func unavailable(err error, flag string) error {
	var opening *net.OpError
	if errors.As(err, &opening) && errors.Is(err, syscall.EADDRINUSE) {
		return &exit{codeEnvironment, fmt.Errorf("%s is taken by another program: choose another with %s", opening.Addr, flag)}
	}
	return &exit{codeEnvironment, fmt.Errorf("%s: %w", flag, err)}
}

// present prints what is where.
func present(ctx context.Context, s Streams, w *session.Session, board *dashboard.Board, took time.Duration) error {
	p, err := w.Places(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "GATEWAY\tPORT\tADDRESS\tHOSTS")
	for _, g := range p.Services {
		if !g.Gateway {
			continue
		}
		for _, port := range g.Ports {
			if port.Serves {
				fmt.Fprintf(t, "%s/%s\t%d\t%s\t%s\n", g.Namespace, g.Name, port.Port, port.Address, strings.Join(g.Hosts, ","))
			}
		}
	}
	fmt.Fprintln(t, "\nSERVICE\tPORT\tADDRESS\t")
	for _, v := range p.Services {
		for _, port := range v.Ports {
			if !v.Gateway && v.Namespace != systemNamespace {
				fmt.Fprintf(t, "%s/%s\t%d\t%s\t%s\n", v.Namespace, v.Name, port.Port, port.Address, port.Name)
			}
		}
	}
	fmt.Fprintln(t, "\nPOD\tPROXY\tAPPLICATION\tADMIN")
	for _, v := range p.Workloads {
		var ports []string
		for _, port := range v.Ports {
			ports = append(ports, port.Address.String())
		}
		admin := "-"
		if v.Admin.IsValid() {
			admin = v.Admin.String()
		}
		fmt.Fprintf(t, "%s/%s\t%s\t%s\t%s\n", v.Namespace, v.Pod, v.Proxy, strings.Join(append(ports, "-")[:max(len(ports), 1)], ","), admin)
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range w.Doors() {
		note := ""
		if !served(p, d.Remote) {
			note = fmt.Sprintf("  (no Gateway has a server on port %d yet)", d.Remote)
		}
		fmt.Fprintf(s.Out, "gateway    %s%s\n", doorURL(d), note)
	}
	if board != nil {
		fmt.Fprintf(s.Out, "dashboard  %s\n", board.URL())
	}
	fmt.Fprintf(s.Err, "up in %.1fs; Ctrl-C ends it\n", took.Seconds())
	return nil
}

const systemNamespace = "istio-system"

// served tells whether any Gateway has a server on a port.
func served(p *world.Places, number uint16) bool {
	return slices.ContainsFunc(p.Services, func(s world.ServicePlace) bool {
		return slices.ContainsFunc(s.Ports, func(port world.PortPlace) bool { return port.Port == number && port.Serves })
	})
}

// tellReport prints what became of a change: one line where all of it was taken.
func tellReport(w io.Writer, r session.Report) {
	now := time.Now().Format(time.TimeOnly)
	config.Print(w, r.Findings)
	for _, text := range slices.Concat(r.Rejected, r.Warnings) {
		fmt.Fprint(w, strings.TrimRight(text, "\n")+"\n")
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "%s %s\n", now, note)
	}
	for _, path := range r.Held {
		fmt.Fprintf(w, "%s %s is refused: its last good version stays\n", now, path)
	}
	switch {
	case r.Err != nil:
		fmt.Fprintf(w, "%s not applied: %v\n", now, r.Err)
	case r.Changes():
		var parts []string
		for _, c := range []struct {
			verb string
			keys []config.Key
		}{{"created", r.Created}, {"changed", r.Changed}, {"deleted", r.Deleted}} {
			if len(c.keys) > 0 {
				parts = append(parts, c.verb+" "+named(c.keys))
			}
		}
		fmt.Fprintf(w, "%s %s; every proxy has it after %.0f ms\n", now, strings.Join(parts, "; "), r.Took.Seconds()*1000)
	case len(r.Rejected) > 0:
		fmt.Fprintf(w, "%s refused: the last good version stays\n", now)
	case !r.Failed():
		fmt.Fprintf(w, "%s saved, and nothing is different\n", now)
	}
}

// named are a few names; of many the number.
func named(keys []config.Key) string {
	if len(keys) > 4 {
		return fmt.Sprintf("%d objects", len(keys))
	}
	var names []string
	for _, k := range keys {
		names = append(names, k.String())
	}
	return strings.Join(names, ", ")
}

// tellSteps prints what the scenario's steps came to.
func tellSteps(w io.Writer, r result.Scenario) {
	p := &progress{s: Streams{Out: w, Err: w}, o: runOptions{output: "table"}, all: 1}
	p.line(w, &r)
}
