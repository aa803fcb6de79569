package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/live"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

// isCluster tells whether an environment is a cluster.
func isCluster(env string) bool { return env == "kind" || env == "kube" }

// clusterTarget is where scenarios run in a cluster.
type clusterTarget struct {
	clusterFlags
	keep        bool
	clientImage string
}

// openCluster connects to the cluster that an environment names, and says what is wrong
// before any scenario starts.
func openCluster(ctx context.Context, o runOptions, w io.Writer) (*live.Env, error) {
	live.Quiet()
	flags := o.cluster.clusterFlags
	client, err := flags.connect()
	if err != nil {
		return nil, err
	}
	env := &live.Env{Kind: o.env, Client: client, System: "istio-system", ClientImage: o.cluster.clientImage, Keep: o.cluster.keep, Out: o.out,
		Logger: logger(job{Verbose: o.verbose}, w), Progress: w}
	if o.env == "kind" && !strings.HasPrefix(client.Context(), "kind-") {
		return nil, &exit{codeEnvironment, fmt.Errorf("the context %s is no kind cluster's: use --env kube, or windtunnel kind create", client.Context())}
	}
	if err := env.Ready(ctx); err != nil {
		return nil, &exit{codeEnvironment, err}
	}
	return env, nil
}

// runCluster runs jobs in a cluster, several at a time: each has namespaces of its own.
func runCluster(ctx context.Context, env run.Env, jobs []job, n int, finished func(job, *result.Scenario)) {
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var wait sync.WaitGroup
	var mu sync.Mutex
	for range max(1, min(n, len(jobs))) {
		wait.Go(func() {
			for j := range queue {
				if ctx.Err() != nil {
					return
				}
				r := run.Run(ctx, env, j.scenario, run.Options{Seed: j.Seed, Timeout: j.Timeout})
				if ctx.Err() == nil {
					mu.Lock()
					finished(j, &r)
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
}
