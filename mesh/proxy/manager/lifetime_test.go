package manager

import (
	"context"
	"testing"
	"testing/synctest"
)

type bell struct{ rung int }

func (b *bell) Interrupt() { b.rung++ }

func TestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, first, second := new(lifetime), new(bell), new(bell)
		derived, cancel := context.WithCancel(l)
		defer cancel()
		ran := false
		context.AfterFunc(l, func() { ran = true })
		stop := context.AfterFunc(l, func() { t.Error("a function ran that was taken back") })
		if !l.Watch(first) || l.Watch(second) || l.Unwatch(second) {
			t.Fatal("there is one place")
		}
		if !stop() || stop() || !l.Unwatch(first) || !l.Watch(second) || l.Err() != nil || derived.Err() != nil {
			t.Fatal("nothing has ended yet")
		}
		l.end()
		l.end()
		synctest.Wait()
		if first.rung != 0 || second.rung != 1 || l.Unwatch(second) || !ran {
			t.Errorf("rung %d and %d, ran %t", first.rung, second.rung, ran)
		}
		<-l.Done()
		<-derived.Done()
		if l.Err() != context.Canceled || derived.Err() != context.Canceled {
			t.Error(l.Err(), derived.Err())
		}
		if !l.Watch(first) {
			t.Error("the place is taken")
		}
		synctest.Wait()
		if first.rung != 1 {
			t.Error("who comes late is not told")
		}
	})
}
