package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/source"
)

// interruptible has a command that only reads and computes end at Ctrl-C, whatever it is at.
func interruptible(c *cobra.Command) *cobra.Command {
	work := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		_, err := untilInterrupt(c.Context(), "interrupted", func() (struct{}, error) { return struct{}{}, work(c, args) })
		return err
	}
	return c
}

// untilInterrupt does work that does not look at a context, unless Ctrl-C comes first: then
// the work is left to itself, and the process ends.
func untilInterrupt[T any](ctx context.Context, say string, work func() (T, error)) (T, error) {
	value, err := source.Until(ctx, work)
	if err != nil && err == ctx.Err() {
		err = &exit{codeInterrupted, errors.New(say)}
	}
	return value, err
}
