package source

import "context"

// Until does work that does not look at a context, as reading files is: one of them may be a
// pipe that nobody writes to, or take a minute. Where the context ends first the error is the
// context's own, and the work is left to itself, so the program had better end.
func Until[T any](ctx context.Context, work func() (T, error)) (T, error) {
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
		return none, ctx.Err()
	}
}
