package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
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

// untilInterrupt does work that does not look at a context, as reading files is: one of them
// may be a pipe that nobody writes to, or take a minute. At Ctrl-C it is left to itself; the
// process ends.
func untilInterrupt[T any](ctx context.Context, say string, work func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := work()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, &exit{codeInterrupted, errors.New(say)}
	}
}
