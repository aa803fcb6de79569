package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// values says of each type of flag what it takes.
var values = map[string]string{
	"bool": "true or false", "int": "a whole number", "uint": "a whole number", "uint64": "a whole number from 0", "float64": "a number",
	"duration": "a duration with its unit, as 30s or 5m", "intSlice": "whole numbers, with commas between them", "boolSlice": "true or false, with commas between them",
	"stringToString": "KEY=VALUE",
}

// flagProblem says what is wrong with a flag, and what was expected.
func flagProblem(c *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &value):
		if expected := values[value.GetFlag().Value.Type()]; expected != "" {
			return fmt.Errorf("--%s %s: expected %s", value.GetFlag().Name, value.GetValue(), expected)
		}
		return fmt.Errorf("--%s %s: %w", value.GetFlag().Name, value.GetValue(), value.Unwrap())
	case errors.As(err, &unknown):
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := spelling.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			return fmt.Errorf("%w (did you mean --%s?)", err, near)
		}
	}
	return err
}

// groupOnly is for commands that only have others: without arguments they show their
// help, and a word that is none of theirs is refused.
func groupOnly(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	var names []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
	if near := spelling.Nearest(args[0], names); near != "" {
		err = fmt.Errorf("%w (did you mean %s?)", err, near)
	}
	return err
}
