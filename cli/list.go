package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

func newListCommand(s Streams) *cobra.Command {
	var sel selection
	var output string
	c := &cobra.Command{
		Use:     "list [PATH…]",
		Short:   "List the scenarios",
		Example: "  windtunnel list scenarios/bookinfo",
		RunE: func(_ *cobra.Command, args []string) error {
			sel.paths = args
			return list(s, sel, output)
		},
	}
	c.Flags().StringVar(&sel.name, "run", "", "only scenarios whose name matches this regular `expression`")
	c.Flags().StringVarP(&sel.labels, "selector", "l", "", "only scenarios with these labels: `key=value,…`")
	c.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, json or markdown")
	return c
}

// listed is one row.
type listed struct {
	Name         string            `json:"name"`
	File         string            `json:"file"`
	Line         int               `json:"line"`
	Labels       map[string]string `json:"labels,omitempty"`
	Environments []string          `json:"environments"`
	Description  string            `json:"description"`
}

func list(s Streams, sel selection, output string) error {
	scenarios, err := sel.load(s.Err)
	if err != nil {
		return err
	}
	var rows []listed
	for _, sc := range scenarios {
		environments := sc.Environments
		if len(environments) == 0 {
			environments = spec.Environments()
		}
		rows = append(rows, listed{sc.Name, sc.Position.File, sc.Position.Line, sc.Labels, environments, sc.Description})
	}
	switch output {
	case "json":
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	case "markdown":
		return catalogue(s.Out, sel.paths, rows)
	case "table":
		w := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tLABELS\tENVIRONMENTS\tDESCRIPTION")
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, joinLabels(r.Labels), strings.Join(r.Environments, ","), r.Description)
		}
		return w.Flush()
	}
	return &exit{codeUsage, fmt.Errorf("-o %s: expected table, json or markdown", output)}
}

func joinLabels(labels map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, k+"="+labels[k])
	}
	return strings.Join(pairs, ",")
}
