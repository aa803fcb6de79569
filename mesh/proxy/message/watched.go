package message

import "context"

// Interrupter is what is told that an exchange has been given up.
type Interrupter interface{ Interrupt() }

// Watched is a context with one place for somebody to be told of its end: what
// context.AfterFunc does, without its memory. Connection managers make their exchanges' contexts so.
type Watched interface {
	context.Context
	// Watch takes the place; false: it is taken. At the context's end Interrupt is called
	// in a goroutine of its own.
	Watch(i Interrupter) bool
	// Unwatch leaves the place; false: the call has been made.
	Unwatch(i Interrupter) bool
}
