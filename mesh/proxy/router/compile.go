package router

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func itoa(n int) string { return strconv.Itoa(n) }

// compile makes the action of a rule.
func compile(config *snapshot.RouteConfig, vh *route.VirtualHost, rule *route.Rule) (*action, error) {
	a := &action{}
	fail := func(err error) (*action, error) {
		return nil, fmt.Errorf("route configuration %q: virtual host %q: route %q: %w", config.Name, vh.Name, rule.Name, err)
	}
	var err error
	if a.request, err = compileOps(rule.RequestHeaders, vh.RequestHeaders, config.RequestHeaders); err != nil {
		return fail(err)
	}
	if a.response, err = compileOps(rule.ResponseHeaders, vh.ResponseHeaders, config.ResponseHeaders); err != nil {
		return fail(err)
	}
	f := rule.Forward
	if f == nil {
		if rule.Direct == nil && rule.Redirect == nil {
			return fail(errors.New("it has no action"))
		}
		return a, nil
	}
	if err := a.compileClusters(f); err != nil {
		return fail(err)
	}
	policy := f.Retry
	if policy == nil {
		policy = vh.Retry
	}
	if policy == nil {
		return a, nil
	}
	for _, word := range policy.On {
		if !Known(word) {
			return fail(fmt.Errorf("retry_on %q is not supported", word))
		}
	}
	a.retry = &compiledRetry{Retry: policy, on: parseWords(policy.On)}
	return a, nil
}

func (a *action) compileClusters(f *snapshot.Forward) error {
	for i := range f.Clusters {
		c := &f.Clusters[i]
		request, err := compileOps(c.RequestHeaders)
		if err != nil {
			return err
		}
		response, err := compileOps(c.ResponseHeaders)
		if err != nil {
			return err
		}
		if len(request)+len(response) == 0 {
			continue
		}
		if a.clusters == nil {
			a.clusters = map[*snapshot.WeightedCluster]*clusterOps{}
		}
		a.clusters[c] = &clusterOps{request, response}
	}
	return nil
}
