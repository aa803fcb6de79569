package bench

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// slice is how long one build is loaded before it is the other's turn. What disturbs a
// machine mostly lasts longer, and meets both.
const slice = 200 * time.Millisecond

// pair takes a sample of each build side by side: both worlds are up, and are loaded in
// turn, slice by slice: AB, BA, AB and so on. The build at first begins.
func (p Plan) pair(ctx context.Context, c cell, first int) ([]result.Sample, error) {
	rigs := make([]*rig, len(p.Builds))
	var found []result.Sample
	var start func(i int) error
	start = func(i int) error {
		if i == len(p.Builds) {
			turns := 1
			if len(c.rate.Steps) <= 1 { // a ramp is one
				turns = max(int(p.Duration/slice), 1)
			}
			inOrder := []*rig{rigs[first], rigs[1-first]}
			var err error
			if found, err = p.inTurn(ctx, inOrder, turns); err == nil && first == 1 {
				slices.Reverse(found)
			}
			return err
		}
		dir := filepath.Join(p.Dir, strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return p.open(ctx, p.Builds[i], c, dir, func(r *rig) error {
			rigs[i] = r
			return start(i + 1)
		})
	}
	return found, start(0)
}

// turn is one rig's part of inTurn.
type turn struct {
	rig      *rig
	session  *load.Loader
	counters counters
	records  []load.Record
	last     *load.Result
	begin    []usage // before the first slice
	used     []usage // in all slices
}

// inTurn loads rigs alternately, each for so many slices of the plan's duration. What a rig
// used while it was another's turn does not count.
func (p Plan) inTurn(ctx context.Context, rigs []*rig, turns int) ([]result.Sample, error) {
	var each func(load.Record)
	if p.Live != nil {
		watch := watch(p.Live, time.Duration(len(rigs))*(p.WarmUp+p.Duration))
		defer watch.stop()
		each = watch.note
	}
	all := make([]*turn, len(rigs))
	for i, r := range rigs {
		o := r.options
		r.cell.rate.set(&o, p.Duration/time.Duration(turns))
		o.WarmUp, o.Each = p.WarmUp, each
		session, err := load.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		defer session.Close()
		all[i] = &turn{rig: r, session: session, used: make([]usage, len(r.sidecars))}
		session.WarmUp()
		all[i].counters = countInstructions(r.sidecars)
		defer all[i].counters.close()
	}
	for _, t := range all {
		var err error
		if t.begin, err = readAll(ctx, t.rig.sidecars, t.counters, true); err != nil {
			return nil, err
		}
	}
	for n := range turns {
		for i := range all {
			if n%2 == 1 { // AB, BA: a machine that gets slower slows both alike
				i = len(all) - 1 - i
			}
			if err := all[i].slice(ctx); err != nil {
				return nil, err
			}
		}
	}
	found := make([]result.Sample, len(all))
	for i, t := range all {
		var err error
		if found[i], err = t.sample(ctx); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// slice runs the load once.
func (t *turn) slice(ctx context.Context) error {
	before, err := readAll(ctx, t.rig.sidecars, t.counters, false)
	if err != nil {
		return err
	}
	if t.last, err = t.session.Run(); err != nil {
		return err
	}
	after, err := readAll(ctx, t.rig.sidecars, t.counters, false)
	if err != nil {
		return err
	}
	for i := range t.used {
		u := &t.used[i]
		u.cpu += after[i].cpu - before[i].cpu
		u.switches += after[i].switches - before[i].switches
		u.instructions += after[i].instructions - before[i].instructions
	}
	t.records = append(t.records, behind(t.records, t.last.Records)...)
	return nil
}

// behind moves records so that they begin where others end: the time between two
// slices is another's.
func behind(others, records []load.Record) []load.Record {
	if len(others) == 0 || len(records) == 0 {
		return records
	}
	end, start := others[0].Done, records[0].Intended
	for _, r := range others {
		if r.Done.After(end) {
			end = r.Done
		}
	}
	for _, r := range records {
		if r.Intended.Before(start) {
			start = r.Intended
		}
	}
	by := end.Sub(start)
	moved := slices.Clone(records)
	for i := range moved {
		r := &moved[i]
		r.Intended, r.Sent, r.Done = r.Intended.Add(by), r.Sent.Add(by), r.Done.Add(by)
	}
	return moved
}

// sample makes one of all slices.
func (t *turn) sample(ctx context.Context) (result.Sample, error) {
	end, err := readAll(ctx, t.rig.sidecars, t.counters, true)
	if err != nil {
		return result.Sample{}, err
	}
	before := make([]usage, len(end))
	for i := range end {
		before[i].own = t.begin[i].own
		end[i].cpu, end[i].switches, end[i].instructions = t.used[i].cpu, t.used[i].switches, t.used[i].instructions
	}
	found := t.last
	if len(t.records) != len(found.Records) {
		found = load.Restore(t.records, found.First, found.Fortio())
	}
	return evaluate(t.rig.cell, found, t.rig.sidecars, before, end)
}
