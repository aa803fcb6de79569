package session

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
	"github.com/windtunnel-mesh/windtunnel/source"
)

// defaultInterval is how often files are looked at.
const defaultInterval = 300 * time.Millisecond

// watch applies files that were saved, until the context ends. What is new is read
// when it has been the same for one interval: editors write in several steps.
func (s *Session) watch(ctx context.Context) {
	ticker := time.NewTicker(cmp.Or(s.o.Interval, defaultInterval))
	defer ticker.Stop()
	read, last := s.in.stamps, s.in.stamps
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := s.o.Source.stamps(s.in)
		if err != nil {
			now = err.Error() // a folder or file that is gone
		}
		settled := now == last
		if last = now; !settled || now == read {
			continue
		}
		read = now
		report, next := s.reload(ctx)
		if next != nil {
			s.in = next
			read, last = next.stamps, next.stamps
		}
		if ctx.Err() == nil && s.o.OnReport != nil {
			s.o.OnReport(report)
		}
	}
}

// reload reads the files again and brings the world to what they say. Where they cannot
// be read, next is nil and everything stays.
func (s *Session) reload(ctx context.Context) (report Report, next *input) {
	next, err := source.Until(ctx, s.o.Source.read)
	if problems, ok := err.(*ProblemsError); ok {
		for _, p := range problems.Problems {
			report.Findings = append(report.Findings, config.Diagnostic{Severity: config.Error, Message: p.Message, Excerpt: p.Source,
				Position: config.Position{File: p.Position.File, Line: p.Position.Line, Col: p.Position.Col}})
		}
		return report, nil
	}
	if err != nil {
		report.Err = err
		return report, nil
	}
	var notes []string
	if !reflect.DeepEqual(next.scenario.Mesh, s.in.scenario.Mesh) {
		notes = append(notes, "the mesh configuration has changed: it takes effect at the next `up`")
	}
	if !sameBehaviours(next.scenario.Behaviours, s.in.scenario.Behaviours) {
		notes = append(notes, "behaviours have changed: they take effect at the next `up`")
	}
	// The world keeps what it was made with.
	next.scenario.Mesh, next.scenario.MeshPosition = s.in.scenario.Mesh, s.in.scenario.MeshPosition
	next.scenario.Behaviours = s.in.scenario.Behaviours
	report = s.update(ctx, next)
	report.Notes = notes
	if err := s.follow(ctx); err != nil && report.Err == nil {
		report.Err = err
	}
	return report, next
}

func sameBehaviours(a, b []spec.Behaviour) bool {
	return slices.EqualFunc(a, b, func(x, y spec.Behaviour) bool {
		x.Position, y.Position = spec.Position{}, spec.Position{}
		return reflect.DeepEqual(x, y)
	})
}

// check finds what is wrong with files before anything is applied.
func check(in *input) Report {
	r := Report{Findings: world.CheckMesh(in.scenario)}
	for _, f := range in.files {
		r.Findings = append(r.Findings, world.Check(in.scenario, f.documents)...)
	}
	return r
}

// update brings the world from the versions that are applied to those of the input. A file
// with an error keeps its last good version.
func (s *Session) update(ctx context.Context, in *input) (r Report) {
	start := time.Now()
	defer func() { r.Took = time.Since(start) }()
	var apply []spec.Document
	next := map[string]*file{}
	for _, f := range in.files {
		old := s.good[f.path]
		if old != nil && old.text() == f.text() && s.taken(f) {
			next[f.path] = old
			continue
		}
		found := slices.DeleteFunc(world.Check(in.scenario, f.documents), func(d config.Diagnostic) bool { return d.Severity != config.Error })
		if r.Findings = append(r.Findings, found...); len(found) > 0 {
			if r.Held = append(r.Held, f.path); old != nil {
				next[f.path] = old
			}
			continue
		}
		next[f.path] = f
		apply = append(apply, f.documents...)
	}
	s.good = next
	after := s.keys()
	for k := range s.has {
		if _, there := after[k]; !there {
			r.Deleted = append(r.Deleted, k)
		}
	}
	if r.Err = s.push(ctx, &r, apply); r.Err != nil {
		return r
	}
	for _, k := range r.Deleted {
		delete(s.has, k)
	}
	for k, text := range after {
		old, there := s.has[k]
		// What the control plane refused is not what it was written to be.
		if o, err := s.world.Object(ctx, k); err != nil || o == nil || string(o.Raw) != text || there && old == text {
			continue
		}
		if s.has[k] = text; there {
			r.Changed = append(r.Changed, k)
		} else {
			r.Created = append(r.Created, k)
		}
	}
	for _, list := range [][]config.Key{r.Created, r.Changed, r.Deleted} {
		slices.SortFunc(list, func(a, b config.Key) int { return cmp.Compare(a.String(), b.String()) })
	}
	return r
}

// taken tells whether the world has all objects of a file as they are written.
func (s *Session) taken(f *file) bool {
	objects, _ := f.objects()
	return !slices.ContainsFunc(objects, func(o *config.Object) bool { return s.has[o.Key()] != string(o.Raw) })
}

// push tells the world.
func (s *Session) push(ctx context.Context, r *Report, apply []spec.Document) error {
	if len(apply) > 0 {
		applied, err := s.world.Apply(ctx, apply)
		if err != nil {
			return fmt.Errorf("apply: %w", err)
		}
		r.Rejected, r.Warnings = applied.Rejected, applied.Warnings
	}
	if len(r.Deleted) > 0 {
		if err := s.world.Remove(ctx, r.Deleted); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	return nil
}

// keys are the objects of the applied versions with their text.
func (s *Session) keys() map[config.Key]string {
	all := map[config.Key]string{}
	for _, f := range s.good {
		objects, _ := f.objects()
		for _, o := range objects {
			all[o.Key()] = string(o.Raw)
		}
	}
	return all
}
