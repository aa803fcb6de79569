package cli

import (
	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

func newSchemaCommand(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:       "schema scenario",
		Short:     "Print the JSON Schema of scenario files",
		Example:   "  windtunnel schema scenario > scenario.v1.json",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"scenario"},
		RunE: func(*cobra.Command, []string) error {
			schema, err := spec.Schema()
			if err != nil {
				return err
			}
			_, err = s.Out.Write(schema)
			return err
		},
	}
}
