package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/live"
	"github.com/windtunnel-mesh/windtunnel/mesh/install"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// clusterFlags tell which cluster.
type clusterFlags struct{ kubeconfig, context string }

func (f *clusterFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "`file` that leads to the cluster (default: $KUBECONFIG, else ~/.kube/config)")
	c.Flags().StringVar(&f.context, "context", "", "`context` of the kubeconfig (default: its current one)")
}

func (f *clusterFlags) connect() (*kube.Client, error) {
	live.Quiet()
	c, err := kube.Connect(kube.ClientOptions{Kubeconfig: f.kubeconfig, Context: f.context, Agent: "cli"})
	if err != nil {
		return nil, &exit{codeEnvironment, err}
	}
	return c, nil
}

// settingsFlags choose an installation.
type settingsFlags struct {
	profile string
	set     []string
}

func (f *settingsFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.profile, "profile", "default", "`profile`: minimal, default or demo")
	c.Flags().StringArrayVar(&f.set, "set", nil, "`NAME=VALUE` of a setting; may be repeated; install profile dump lists all")
}

func (f *settingsFlags) settings() (install.Settings, error) {
	s, err := install.Profile(f.profile)
	if err == nil {
		err = s.Set(f.set...)
	}
	if err == nil {
		_, err = s.Validate()
	}
	if err != nil {
		return s, &exit{codeUsage, err}
	}
	return s, nil
}

func newInstallCommand(s Streams) *cobra.Command {
	var cluster clusterFlags
	var choice settingsFlags
	var dry, now, force bool
	var limit time.Duration
	c := &cobra.Command{
		Use:   "install",
		Short: "Put the mesh into a cluster",
		Long: "Install the control plane, its webhooks and gateways into a cluster, by server-side apply, and wait until they are ready.\n" +
			"A second install with other settings or another version is an upgrade in place.",
		Example: "  windtunnel install --profile demo --set ingressGateway.serviceType=NodePort\n  windtunnel install --dry-run > mesh.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := choice.settings()
			if err != nil {
				return err
			}
			if dry {
				return printManifest(s.Out, settings)
			}
			if limit <= 0 {
				return &exit{codeUsage, errors.New("--timeout must be more than 0")}
			}
			client, err := cluster.connect()
			if err != nil {
				return err
			}
			ctx, stop := limited(c.Context(), limit)
			defer stop()
			return inCluster(c.Context(), installMesh(ctx, s, client, settings, installChoice{wait: !now, force: force}))
		},
	}
	cluster.add(c)
	choice.add(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "print the manifests, do not touch any cluster")
	c.Flags().BoolVar(&now, "no-wait", false, "return when the objects are applied, before they are ready")
	c.Flags().BoolVar(&force, "force", false, "go on where Kubernetes is too old or another mesh is there, whose objects stay")
	c.Flags().DurationVar(&limit, "timeout", 5*time.Minute, "how long it may take")
	c.AddCommand(newProfileCommand(s), newManifestCommand(s))
	return c
}

// limited ends a context with a cause that reads well.
func limited(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("after %s, --timeout", limit))
}

// inCluster is the exit of a command that works on a cluster.
func inCluster(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &exit{codeInterrupted, errors.New("interrupted; run the command again to complete it")}
	}
	var e *exit
	if errors.As(err, &e) {
		return err
	}
	return &exit{codeEnvironment, err}
}

// installChoice tells how to install.
type installChoice struct {
	wait  bool // until all is ready
	force bool // go on in spite of what Preflight lets people decide
}

func installMesh(ctx context.Context, s Streams, client *kube.Client, settings install.Settings, how installChoice) error {
	objects, err := install.Manifest(settings)
	if err != nil {
		return &exit{codeUsage, err}
	}
	warnings, err := install.Preflight(ctx, client, settings, how.force)
	for _, w := range warnings {
		fmt.Fprintln(s.Err, "warning:", w)
	}
	if err != nil {
		return err
	}
	i := install.Installer{Client: client, Progress: s.Err}
	if err := i.Apply(ctx, objects); err != nil {
		return err
	}
	if how.wait {
		if err := i.Wait(ctx, objects); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.Err, "the mesh is installed in %s (context %s); label a namespace istio-injection=enabled to have its new Pods in it\n",
		settings.Namespace, client.Context())
	return nil
}

func printManifest(w io.Writer, settings install.Settings) error {
	objects, err := install.Manifest(settings)
	if err != nil {
		return &exit{codeUsage, err}
	}
	text, err := install.YAML(objects)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func newManifestCommand(s Streams) *cobra.Command {
	var choice settingsFlags
	c := &cobra.Command{
		Use: "manifest", Short: "Print the manifests of an installation", Args: cobra.NoArgs,
		Example: "  windtunnel install manifest --profile minimal",
		RunE: func(*cobra.Command, []string) error {
			settings, err := choice.settings()
			if err != nil {
				return err
			}
			return printManifest(s.Out, settings)
		},
	}
	choice.add(c)
	return c
}

func newProfileCommand(s Streams) *cobra.Command {
	c := &cobra.Command{Use: "profile", Short: "The named settings of installations",
		Example: "  windtunnel install profile list",
		RunE:    groupOnly}
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "Print the profiles", Example: "  windtunnel install profile list", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			names, about := install.Profiles()
			for _, name := range names {
				fmt.Fprintf(s.Out, "%-8s  %s\n", name, about[name])
			}
			return nil
		},
	}, &cobra.Command{
		Use: "dump [PROFILE]", Short: "Print all settings of a profile", Example: "  windtunnel install profile dump demo", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := profileText(strings.Join(append(args, "default")[:1], ""))
			fmt.Fprint(s.Out, text)
			return err
		},
	}, &cobra.Command{
		Use: "diff PROFILE PROFILE", Short: "Print the settings in which two profiles differ", Example: "  windtunnel install profile diff default demo", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, name := range args {
				if _, err := install.Profile(name); err != nil {
					return &exit{codeUsage, err}
				}
			}
			for _, d := range install.Differences(args[0], args[1]) {
				fmt.Fprintf(s.Out, "%s: %s -> %s\n", d.Name, d.Old, d.New)
			}
			return nil
		},
	})
	return c
}

func profileText(name string) (string, error) {
	settings, err := install.Profile(name)
	if err != nil {
		return "", &exit{codeUsage, err}
	}
	text, err := yaml.Marshal(settings)
	return string(text), err
}

func newUninstallCommand(s Streams) *cobra.Command {
	var cluster clusterFlags
	var purge, keep bool
	var limit time.Duration
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the mesh out of a cluster",
		Long: "Remove everything that windtunnel install and its control plane have made, in all namespaces, and wait until it is gone.\n" +
			"Sidecars that run stay until their Pods are made anew. A namespace and definitions that were there before stay.\n" +
			"The definitions of the custom kinds go too, and with them the objects of these kinds: where there are any, --purge or\n" +
			"--keep-definitions has to say what is wanted.",
		Example: "  windtunnel uninstall --keep-definitions",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if purge && keep {
				return &exit{codeUsage, errors.New("--purge and --keep-definitions exclude each other")}
			}
			client, err := cluster.connect()
			if err != nil {
				return err
			}
			ctx, stop := limited(c.Context(), limit)
			defer stop()
			i := install.Installer{Client: client, Progress: s.Err}
			if !purge && !keep {
				used, err := i.InUse(ctx)
				if err != nil {
					return inCluster(c.Context(), err)
				}
				if len(used) > 0 {
					return &exit{codeUsage, fmt.Errorf("%s would be lost, %s among them: --purge removes them, --keep-definitions keeps them",
						plural(len(used), "object"), used[0])}
				}
			}
			count, err := i.Uninstall(ctx, keep)
			if err == nil && count == 0 {
				fmt.Fprintln(s.Err, "there was nothing of windtunnel's")
			}
			return inCluster(c.Context(), err)
		},
	}
	cluster.add(c)
	c.Flags().BoolVar(&purge, "purge", false, "also remove VirtualServices and all other objects of the mesh's kinds")
	c.Flags().BoolVar(&keep, "keep-definitions", false, "keep the custom kinds and their objects")
	c.Flags().DurationVar(&limit, "timeout", 5*time.Minute, "how long it may take")
	return c
}
