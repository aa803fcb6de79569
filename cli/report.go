package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/reports"
)

func newReportCommand(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "report DIR",
		Short:   "Render the report again from results.json",
		Example: "  windtunnel report out/demo",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			run, err := reports.Read(args[0])
			if err != nil {
				return &exit{codeUsage, err}
			}
			if err := reports.Write(args[0], run); err != nil {
				return &exit{codeEnvironment, err}
			}
			fmt.Fprintln(s.Out, filepath.Join(args[0], reports.HTMLFile))
			return nil
		},
	}
}
