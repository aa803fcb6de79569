package cli

import (
	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

func newSchemaCommand(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:       "schema scenario|results",
		Short:     "Print the JSON Schema of scenario files, or of results.json",
		Example:   "  windtunnel schema scenario > scenario.v1.json\n  windtunnel schema results",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"scenario", "results"},
		RunE: func(_ *cobra.Command, args []string) error {
			render := spec.Schema
			if args[0] == "results" {
				render = result.Schema
			}
			schema, err := render()
			if err != nil {
				return err
			}
			_, err = s.Out.Write(schema)
			return err
		},
	}
}
