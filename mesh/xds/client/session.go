package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// session is one stream. All but the mailbox belongs to the goroutine in run.
type session struct {
	c     *Client
	wire  wire
	types []resource.Type // that are asked for, in the order of resource.Types
	kinds map[resource.Type]*kind
	wake  chan struct{} // holds one token while there is news

	mu      sync.Mutex
	mailbox []*response
	ended   error

	heard bool
	// deadline is when to stop waiting for what is missing; zero while nothing is.
	deadline time.Time
	timer    *time.Timer
}

func newSession(c *Client, w wire) *session {
	s := &session{c: c, wire: w, kinds: map[resource.Type]*kind{}, wake: make(chan struct{}, 1)}
	s.types = slices.DeleteFunc(slices.Clone(resource.Types), func(t resource.Type) bool { return t == resource.NameTable && !c.o.Names })
	inForce := c.Set()
	for _, t := range s.types {
		s.kinds[t] = newKind(t, inForce, c.o.Static)
	}
	return s
}

// receive fills the mailbox until the stream ends.
func (s *session) receive() {
	for {
		r, err := s.wire.receive()
		s.mu.Lock()
		if err != nil {
			s.ended = err
		} else {
			s.mailbox = append(s.mailbox, r)
		}
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// run subscribes and then answers everything that comes, in order. What is queued
// when it wakes is taken together.
func (s *session) run(ctx context.Context) error {
	s.timer = time.NewTimer(0)
	s.timer.Stop()
	defer s.timer.Stop()
	if err := s.begin(); err != nil {
		return err
	}
	for {
		select {
		case <-s.wake:
		case <-s.timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mu.Lock()
		queue, ended := s.mailbox, s.ended
		s.mailbox = nil
		s.mu.Unlock()
		for _, r := range queue {
			if err := s.take(r); err != nil {
				return err
			}
		}
		if err := s.advance(); err != nil {
			return err
		}
		if ended != nil {
			return ended
		}
	}
}

// begin asks for all clusters, all listeners and the name table, and for what those in force refer to.
func (s *session) begin() error {
	needed, err := s.needed()
	if err != nil {
		return err
	}
	for _, t := range s.types {
		if k := s.kinds[t]; k.wildcard() {
			if err := s.wire.subscribe(k, nil, nil, true); err != nil {
				return err
			}
		}
	}
	return s.ask(needed, false)
}

func (s *session) take(r *response) error {
	s.heard = true
	k := s.kinds[r.typ]
	if k == nil {
		s.c.o.Logger.Warn("the control plane sent a type that nobody asked for", "type", r.typ)
		return nil
	}
	if r.err != nil {
		// It cannot be read, so nothing of it can be in force; what was before stays.
		k.nonce, k.version = r.nonce, r.version
		return s.wire.refuse(k, r.nonce, r.err.Error())
	}
	if s.c.o.Same != nil {
		for i, res := range r.resources {
			r.resources[i] = s.c.o.Same(r.typ, res)
		}
	}
	k.take(r, s.c.o.Delta)
	return nil
}

// advance asks for what the candidate refers to and offers it once it is complete.
func (s *session) advance() error {
	needed, err := s.needed()
	if err != nil {
		return s.refuse(err)
	}
	if err := s.ask(needed, true); err != nil {
		return err
	}
	if !s.unanswered() {
		return nil
	}
	if missing := s.missing(needed); missing != "" && s.wait() {
		return nil
	} else if missing != "" {
		s.c.o.Logger.Warn("a resource did not come in time; going on without it", "missing", missing, "timeout", s.c.o.WarmTimeout)
	}
	s.deadline = time.Time{}
	s.timer.Stop()
	return s.offer(needed)
}

// wait tells whether there is still time for what is missing.
func (s *session) wait() bool {
	now := time.Now()
	if s.deadline.IsZero() {
		s.deadline = now.Add(s.c.o.WarmTimeout)
		s.timer.Reset(s.c.o.WarmTimeout)
	}
	return now.Before(s.deadline)
}

// needed returns the names that the candidate's clusters and listeners refer to, by type.
func (s *session) needed() (map[resource.Type]map[string]bool, error) {
	needed := map[resource.Type]map[string]bool{}
	for _, t := range []resource.Type{resource.Cluster, resource.Listener} {
		wanting := maps.Clone(s.kinds[t].candidate)
		maps.Copy(wanting, s.c.o.Static[t])
		for _, name := range slices.Sorted(maps.Keys(wanting)) {
			found, err := wanting[name].References(t)
			if err != nil {
				return nil, err
			}
			for _, ref := range found {
				if needed[ref.Type] == nil {
					needed[ref.Type] = map[string]bool{}
				}
				if s.c.o.Static[ref.Type][ref.Name] == nil {
					needed[ref.Type][ref.Name] = true
				}
			}
		}
	}
	return needed, nil
}

// ask subscribes to what is needed. With keep, names that are no longer needed stay
// until the candidate is in force: what is in force still lives on them.
func (s *session) ask(needed map[resource.Type]map[string]bool, keep bool) error {
	for _, t := range s.types {
		k := s.kinds[t]
		if k.wildcard() {
			continue
		}
		names := map[string]bool{}
		maps.Copy(names, needed[t])
		if keep {
			maps.Copy(names, k.names)
		}
		if err := s.askKind(k, names); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) askKind(k *kind, names map[string]bool) error {
	added, dropped := k.ask(names)
	// A list of names that crossed a response on its way was ignored as stale.
	again := !s.c.o.Delta && k.nonce != k.asked && s.lacks(k, names)
	if len(added) == 0 && len(dropped) == 0 && !again {
		return nil
	}
	first := len(k.names) == 0 && k.nonce == ""
	k.names = names
	return s.wire.subscribe(k, added, dropped, first)
}

func (s *session) lacks(k *kind, names map[string]bool) bool {
	for name := range names {
		if k.candidate[name] == nil {
			return true
		}
	}
	return false
}

func (s *session) unanswered() bool {
	for _, k := range s.kinds {
		if len(k.unanswered) > 0 {
			return true
		}
	}
	return false
}

// missing names something that has not come yet, or is empty.
func (s *session) missing(needed map[resource.Type]map[string]bool) string {
	first := s.c.Set() == nil
	for _, t := range s.types {
		k := s.kinds[t]
		if k.wildcard() && first && k.nonce == "" {
			return "all of " + t
		}
		for _, name := range slices.Sorted(maps.Keys(needed[t])) {
			if k.candidate[name] == nil {
				return fmt.Sprintf("%s %q", t, name)
			}
		}
	}
	return ""
}

// offer puts the candidate in force and answers for it.
func (s *session) offer(needed map[resource.Type]map[string]bool) error {
	set := s.set(needed)
	if before := s.c.Set(); before == nil || !same(before, set) {
		if err := s.c.o.OnUpdate(set); err != nil {
			return s.refuse(err)
		}
		s.c.setInForce(set)
	}
	return s.accept(needed)
}

// set is the candidate without what nothing refers to any more, and what is static.
func (s *session) set(needed map[resource.Type]map[string]bool) resource.Set {
	set := resource.Set{}
	for t, k := range s.kinds {
		for name, res := range k.candidate {
			if k.wildcard() || needed[t][name] {
				set.Put(t, res)
			}
		}
	}
	for t, all := range s.c.o.Static {
		for _, res := range all {
			set.Put(t, res)
		}
	}
	return set
}

// same tells whether two sets have the same resources.
func same(a, b resource.Set) bool {
	for _, t := range resource.Types {
		if !maps.EqualFunc(a[t], b[t], func(x, y *resource.Resource) bool { return x.Version == y.Version }) {
			return false
		}
	}
	return true
}

// accept acknowledges all responses, those first that were refused earlier and are
// now in force, and lets go of what is no longer needed.
func (s *session) accept(needed map[resource.Type]map[string]bool) error {
	for _, take := range []func(*kind) []string{
		func(k *kind) (nonces []string) { nonces, k.refused = k.refused, nil; return },
		func(k *kind) (nonces []string) { nonces, k.unanswered = k.unanswered, nil; return },
	} {
		for _, t := range s.types {
			k := s.kinds[t]
			for _, nonce := range take(k) {
				if err := s.wire.accept(k, nonce); err != nil {
					return err
				}
				k.accepted = k.version
			}
		}
	}
	for t, k := range s.kinds {
		if !k.wildcard() {
			maps.DeleteFunc(k.candidate, func(name string, _ *resource.Resource) bool { return !needed[t][name] })
		}
	}
	return s.ask(needed, false)
}

// refuse answers all responses since the last good set with a NACK.
func (s *session) refuse(why error) error {
	s.deadline = time.Time{}
	s.timer.Stop()
	s.c.o.Logger.Warn("the control plane's configuration was refused", "error", why)
	for _, t := range s.types {
		k := s.kinds[t]
		for _, nonce := range k.unanswered {
			if err := s.wire.refuse(k, nonce, why.Error()); err != nil {
				return err
			}
		}
		k.refused = append(k.refused, k.unanswered...)
		k.unanswered = nil
	}
	return nil
}
