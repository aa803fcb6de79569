package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/bench"
)

// newBenchReverseProxyCommand is the peer "go" of `bench run`, which starts it: no user does.
func newBenchReverseProxyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reverse-proxy LISTEN UPSTREAM", Short: "Be Go's own reverse proxy, to measure against", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return &exit{codeEnvironment, bench.ServeReverseProxy(args[0], args[1])}
		},
	}
}

// reverseProxy is the command that runs it.
func reverseProxy() ([]string, error) {
	self, err := os.Executable()
	return []string{self, "bench", "reverse-proxy"}, err
}
