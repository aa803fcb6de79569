package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/reports"
)

func newReportCommand(s Streams) *cobra.Command {
	var formats []string
	c := &cobra.Command{
		Use:     "report DIR",
		Short:   "Render the report again from results.json",
		Example: "  windtunnel report out/demo\n  windtunnel report out/demo --format tap,badge,junit-step",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			run, err := reports.Read(args[0])
			if err != nil {
				return &exit{codeUsage, err}
			}
			var known []string
			for _, f := range reports.Formats() {
				known = append(known, f.Name)
			}
			for _, f := range formats {
				if !slices.Contains(known, f) {
					return &exit{codeUsage, fmt.Errorf("--format %s: expected %s", f, strings.Join(known, ", "))}
				}
			}
			if slices.Contains(formats, "junit") && slices.Contains(formats, "junit-step") {
				return &exit{codeUsage, errors.New("--format: junit and junit-step are the same file, choose one")}
			}
			if err := reports.Write(args[0], run, formats...); err != nil {
				return &exit{codeEnvironment, err}
			}
			for _, f := range reports.Formats() {
				if slices.Contains(formats, f.Name) {
					fmt.Fprintln(s.Out, filepath.Join(args[0], f.File))
				}
			}
			return nil
		},
	}
	c.Flags().StringSliceVar(&formats, "format", []string{"json", "junit", "markdown", "html"},
		"`formats` to write: json, junit, junit-step, markdown, html, tap, badge")
	return c
}
