package world

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// command plays the command of an exec probe: it succeeds while the application listens,
// and fails when the scenario says so.
func (a *application) command(words []string) error {
	a.mu.Lock()
	running, age := a.process != nil, time.Since(a.begun)
	a.mu.Unlock()
	declared, _ := a.w.images.Declared(a.n.workload, a.container.Image)
	switch e := declared.Exec; {
	case !running:
		return errors.New("the container does not run")
	case age < declared.Startup:
		return fmt.Errorf("command %q ended with 1: nothing listens yet", strings.Join(words, " "))
	case e != nil && age >= e.After && (e.For == 0 || age < e.After+e.For):
		return fmt.Errorf("command %q ended with %d", strings.Join(words, " "), e.ExitCode)
	}
	return nil
}
