package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/kind"
	"github.com/windtunnel-mesh/windtunnel/mesh/install"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// kindFlags tell which kind cluster.
type kindFlags struct{ name, kubeconfig string }

func (f *kindFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", kind.DefaultName, "`name` of the cluster")
	c.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "`file` for the way to the cluster (default: $KUBECONFIG, else ~/.kube/config)")
}

func (f *kindFlags) open(ctx context.Context, s Streams) (*kind.Clusters, error) {
	c, err := kind.Open(ctx, kind.Options{Name: f.name, Kubeconfig: f.kubeconfig, Progress: s.Err})
	if err != nil {
		return nil, &exit{codeEnvironment, err}
	}
	return c, nil
}

func newKindCommand(s Streams) *cobra.Command {
	c := &cobra.Command{Use: "kind", Short: "Kubernetes clusters in containers of this machine",
		Example: "  windtunnel kind create --load \"$(images/build --names)\"",
		RunE:    groupOnly}
	c.AddCommand(newKindCreateCommand(s), newKindLoadCommand(s), newKindDeleteCommand(s))
	return c
}

func newKindCreateCommand(s Streams) *cobra.Command {
	var f kindFlags
	var choice settingsFlags
	var o kind.CreateOptions
	var load []string
	var bare bool
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a kind cluster with the mesh in it",
		Long: "Make a kind cluster, or take the one of the name that is there, put images into it and install the mesh.\n" +
			"Where any of it fails, a cluster that this command has made is removed again.",
		Example: "  make images && windtunnel kind create --load \"$(images/build --names | paste -sd,)\" --set tag=$(git describe --tags --always --dirty)",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := choice.settings()
			if err != nil {
				return err
			}
			clusters, err := f.open(c.Context(), s)
			if err != nil {
				return err
			}
			if warning := clusters.Memory(c.Context()); warning != "" {
				fmt.Fprintln(s.Err, "warning:", warning)
			}
			made, err := clusters.Create(o)
			if err == nil && len(load) > 0 {
				err = clusters.Load(c.Context(), load)
			}
			if err == nil && !bare {
				err = installInKind(c.Context(), s, f, clusters, settings)
			}
			if err != nil && made {
				err = errors.Join(err, clusters.Delete())
			}
			if errors.Is(err, kind.ErrConfiguration) {
				return &exit{codeUsage, err}
			}
			return inCluster(c.Context(), err)
		},
	}
	f.add(c)
	choice.add(c)
	c.Flags().StringVar(&o.NodeImage, "node-image", "", "`image` of the nodes (default: kind's)")
	c.Flags().StringVar(&o.Config, "config", "", "`file` with kind's own configuration of the cluster")
	c.Flags().StringVar(&o.IPFamily, "ip-family", "", "`family` of the addresses of Pods and Services: "+strings.Join(kind.IPFamilies(), ", ")+" (default: as --config says, or ipv4)")
	c.Flags().DurationVar(&o.Wait, "wait", 3*time.Minute, "how long nodes may take to be ready")
	c.Flags().StringSliceVar(&load, "load", nil, "`images` to put into the cluster, separated by commas")
	c.Flags().BoolVar(&bare, "no-mesh", false, "do not install the mesh")
	return c
}

func installInKind(ctx context.Context, s Streams, f kindFlags, clusters *kind.Clusters, settings install.Settings) error {
	client, err := kube.Connect(kube.ClientOptions{Kubeconfig: f.kubeconfig, Context: clusters.Context(), Agent: "cli"})
	if err != nil {
		return err
	}
	ctx, stop := limited(ctx, 5*time.Minute)
	defer stop()
	return installMesh(ctx, s, client, settings, installChoice{wait: true})
}

func newKindLoadCommand(s Streams) *cobra.Command {
	var f kindFlags
	c := &cobra.Command{
		Use: "load IMAGE…", Short: "Put images of this machine's Docker into a kind cluster", Args: cobra.MinimumNArgs(1),
		Example: "  windtunnel kind load $(images/build --names)",
		RunE: func(c *cobra.Command, args []string) error {
			clusters, err := f.open(c.Context(), s)
			if err != nil {
				return err
			}
			return inCluster(c.Context(), clusters.Load(c.Context(), args))
		},
	}
	f.add(c)
	return c
}

func newKindDeleteCommand(s Streams) *cobra.Command {
	var f kindFlags
	var logs string
	c := &cobra.Command{
		Use: "delete", Short: "Remove a kind cluster", Args: cobra.NoArgs, Example: "  windtunnel kind delete --logs out/kind-logs",
		RunE: func(c *cobra.Command, _ []string) error {
			clusters, err := f.open(c.Context(), s)
			if err != nil {
				return err
			}
			if logs != "" {
				if err := clusters.CollectLogs(logs); err != nil {
					fmt.Fprintln(s.Err, "logs:", err)
				}
			}
			return inCluster(c.Context(), clusters.Delete())
		},
	}
	f.add(c)
	c.Flags().StringVar(&logs, "logs", "", "write the logs of nodes and containers into this `folder` first")
	return c
}
