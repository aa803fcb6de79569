package spec

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// Canary waits for a release.
type Canary struct {
	Name    string // of the Canary, or NAMESPACE/NAME
	Until   string // Initialized, Succeeded, Failed
	Timeout time.Duration
}

// defaultRelease is how long a release may take where the step does not say.
const defaultRelease = 30 * time.Minute

func canaryFormat() object[Canary] {
	return object[Canary]{what: "a canary", fields: []field[Canary]{
		need(at("name", "The Canary, or NAMESPACE/NAME.", workload(), func(c *Canary) *string { return &c.Name })),
		need(at("until", "The phase to wait for. A release that ends in the other one fails the step.",
			enum("Initialized", "Succeeded", "Failed"), func(c *Canary) *string { return &c.Until })),
		at("timeout", "How long to wait, in the world's time. Default: 30m.", positive(), func(c *Canary) *time.Duration { return &c.Timeout }),
	}, rules: func(_ *decoder, _ *yaml.Node, _ map[string]*yaml.Node, c *Canary) {
		preset(&c.Timeout, defaultRelease)
	}}
}
