package spec

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// Chaos is faults at random.
type Chaos struct {
	Workloads []string      // whom they strike
	For       time.Duration // how long new ones come
	Every     time.Duration // between two of them, on average
	Faults    []string      // of ChaosFaults; those that may come
}

// ChaosFaults are the kinds of faults that chaos draws.
var ChaosFaults = []string{"kill", "restart", "proxy", "pause", "partition", "slow", "xds", "controlPlane"}

const defaultEvery = 5 * time.Second

func chaosFormat() object[Chaos] {
	return object[Chaos]{what: "chaos", fields: []field[Chaos]{
		need(at("workloads", "Whom it strikes.", list(workload()), func(c *Chaos) *[]string { return &c.Workloads })),
		need(at("for", "How long new faults come, in the world's time.", positive(), func(c *Chaos) *time.Duration { return &c.For })),
		at("every", "The time between two of them, on average; each ends after twice that at most. Default: 5s.", positive(), func(c *Chaos) *time.Duration { return &c.Every }),
		at("faults", "Those that may come. Default: all; partition and slow need two workloads.", list(enum(ChaosFaults...)), func(c *Chaos) *[]string { return &c.Faults }),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, c *Chaos) {
		if keys["workloads"] != nil && len(c.Workloads) == 0 {
			d.problem(keys["workloads"], "chaos needs somebody to strike")
		}
		between := func(f string) bool { return (f == "partition" || f == "slow") && len(c.Workloads) < 2 }
		switch i := slices.IndexFunc(c.Faults, between); {
		case keys["faults"] == nil:
			c.Faults = slices.DeleteFunc(slices.Clone(ChaosFaults), between)
		case len(c.Faults) == 0:
			d.problem(keys["faults"], "chaos needs at least one kind of fault")
		case i >= 0:
			d.problem(keys["faults"], "%s is between two workloads, and chaos has one", c.Faults[i])
		}
		if c.Every == 0 {
			c.Every = defaultEvery
		}
	}}
}
