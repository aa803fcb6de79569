package cli

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/diff"
	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

func newDiffCommand(s Streams) *cobra.Command {
	var before, after []string
	var output string
	c := &cobra.Command{
		Use:   "diff -f OLD… --with NEW…",
		Short: "Tell how behaviour changes between two configurations",
		Long: "Tell which requests change between two configurations, and how: destinations and their shares, answers, timeout, retries, faults, mirrors,\n" +
			"mutual TLS, authorization. The requests are derived from both configurations: one for each port of each Service, and some for each match\n" +
			"of routes and policies and its boundaries, with tokens where issuers are known; each is explained in both, from every workload (or through the gateway), and sent in none.",
		Example: "  windtunnel diff -f bookinfo/manifests/bookinfo.yaml,bookinfo/manifests/destination-rule-all.yaml,bookinfo/manifests/virtual-service-all-v1.yaml \\\n" +
			"    --with bookinfo/manifests/bookinfo.yaml,bookinfo/manifests/destination-rule-all.yaml,bookinfo/manifests/virtual-service-reviews-test-v2.yaml",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !slices.Contains([]string{"table", "json", "markdown"}, output) {
				return &exit{codeUsage, fmt.Errorf("-o %s: expected table, json or markdown", output)}
			}
			if len(after) == 0 {
				return &exit{codeUsage, errors.New("nothing to compare with: --with FILE is needed")}
			}
			old, err := offline(s, before)
			if err != nil {
				return err
			}
			new, err := offline(s, after)
			if err != nil {
				return err
			}
			report, err := compareMeshes(old, new)
			if err != nil {
				return &exit{codeUsage, err}
			}
			write := map[string]func() error{"table": func() error { return report.Text(s.Out) },
				"json": func() error { return report.JSON(s.Out) }, "markdown": func() error { return report.Markdown(s.Out) }}[output]
			if err := write(); err != nil {
				return &exit{codeEnvironment, err}
			}
			return nil
		},
	}
	c.Flags().StringSliceVarP(&before, "filename", "f", nil, "the old manifests: a `file`, a folder, or - for stdin; may be repeated")
	c.Flags().StringSliceVar(&after, "with", nil, "the new manifests: a `file` or a folder; may be repeated")
	c.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, json or markdown")
	return c
}

// compareMeshes explains every probe in both meshes, from every client that both have.
func compareMeshes(old, new *world.Offline) (*diff.Report, error) {
	var objects []*config.Object
	for _, o := range slices.Concat(old.View().All(), new.View().All()) {
		if o.Position().Line > 0 { // somebody wrote it
			objects = append(objects, o)
		}
	}
	probes, err := diff.Probes(objects)
	if err != nil {
		return nil, err
	}
	theirs := new.Clients()
	clients := slices.DeleteFunc(old.Clients(), func(c string) bool { return !slices.Contains(theirs, c) })
	for _, mesh := range []*world.Offline{old, new} {
		mesh.TakeTokens(diff.Keys())
	}
	report := &diff.Report{Version: "v1", Changes: []diff.Change{}}
	for _, p := range probes {
		from := clients
		if p.Ingress {
			from = []string{"ingress"}
		}
		for _, client := range from {
			a, err := way(old, p, client)
			if err != nil {
				return nil, fmt.Errorf("%s %s from %s: %w", p.Method, p.URL, client, err)
			}
			b, err := way(new, p, client)
			if err != nil {
				return nil, fmt.Errorf("%s %s from %s: %w", p.Method, p.URL, client, err)
			}
			report.Add(p, client, diff.Compare(a, b))
		}
	}
	return report, nil
}

func way(mesh *world.Offline, p diff.Probe, from string) (*explain.Way, error) {
	q := &spec.Explain{From: from, Method: p.Method, URL: p.URL, Headers: p.Headers}
	if p.Token == nil {
		return mesh.Explain(q)
	}
	text, err := p.Token.Signed()
	if err != nil {
		return nil, err
	}
	if p.Token.Param != "" {
		before, query, _ := strings.Cut(p.URL, "?")
		q.URL = before + "?" + strings.TrimSuffix(url.QueryEscape(p.Token.Param)+"="+text+"&"+query, "&")
		return mesh.Explain(q)
	}
	q.Headers = maps.Clone(p.Headers)
	if q.Headers == nil {
		q.Headers = map[string]string{}
	}
	q.Headers[p.Token.Header] = p.Token.Prefix + text
	return mesh.Explain(q)
}
