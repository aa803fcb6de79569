// Package kind makes Kubernetes clusters out of containers of this machine, with kind's
// own library, and puts images into them.
//
// In: a name, a node image, names of images that Docker has. Out: a cluster in a
// kubeconfig. It must not import the mesh or scenarios.
package kind

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
	"sigs.k8s.io/kind/pkg/log"
)

// DefaultName is the name of the cluster where nobody gives another.
const DefaultName = "windtunnel"

// Options tell which cluster.
type Options struct {
	Name       string // DefaultName where it is empty
	Kubeconfig string // a file; "": as kubectl has it
	Progress   io.Writer
}

// Clusters knows the clusters of this machine.
type Clusters struct {
	o        Options
	provider *cluster.Provider
}

// ErrConfiguration says that a cluster cannot be as it is wanted.
var ErrConfiguration = errors.New("the configuration of the cluster")

// ErrNoDocker says that there is nothing that could run a cluster.
var ErrNoDocker = errors.New("no Docker")

// Open says what is wrong with this machine's Docker, where there is something.
func Open(ctx context.Context, o Options) (*Clusters, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, fmt.Errorf("%w: the program docker is not in PATH", ErrNoDocker)
	}
	if out, err := exec.CommandContext(ctx, "docker", "info", "--format", "{{.ServerVersion}}").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: Docker does not answer: %s", ErrNoDocker, lastLine(out))
	}
	return &Clusters{o: o, provider: cluster.NewProvider(cluster.ProviderWithDocker(), cluster.ProviderWithLogger(logger{o.Progress}))}, nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// Context is the name that the kubeconfig has for the cluster.
func (c *Clusters) Context() string { return "kind-" + c.o.Name }

// Exists tells whether there is a cluster of the name.
func (c *Clusters) Exists() (bool, error) {
	names, err := c.provider.List()
	if err != nil {
		return false, fmt.Errorf("list kind clusters: %w", err)
	}
	return slices.Contains(names, c.o.Name), nil
}

// CreateOptions are of a cluster that is made.
type CreateOptions struct {
	NodeImage string        // kind's default where it is empty
	Config    string        // file of kind's configuration; "": one node
	IPFamily  string        // one of IPFamilies; "": as the configuration says, or IPv4
	Wait      time.Duration // for its nodes to be ready
}

// Create makes the cluster, or takes the one that is there; made tells which. A cluster
// that did not come up is removed again.
func (c *Clusters) Create(o CreateOptions) (made bool, err error) {
	exists, err := c.Exists()
	if err != nil {
		return false, err
	}
	if exists {
		if err := c.found(o); err != nil {
			return false, err
		}
		return false, c.provider.ExportKubeConfig(c.o.Name, c.o.Kubeconfig, false)
	}
	text, err := configuration(o)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrConfiguration, err)
	}
	options := []cluster.CreateOption{cluster.CreateWithKubeconfigPath(c.o.Kubeconfig), cluster.CreateWithWaitForReady(o.Wait)}
	if o.NodeImage != "" {
		options = append(options, cluster.CreateWithNodeImage(o.NodeImage))
	}
	if text != nil {
		options = append(options, cluster.CreateWithRawConfig(text))
	}
	if err := c.provider.Create(c.o.Name, options...); err != nil {
		return false, fmt.Errorf("create the kind cluster %s: %w%s", c.o.Name, err, withoutImage(cmp.Or(o.NodeImage, defaults.Image)))
	}
	return true, nil
}

// withoutImage says what helps where Docker has no image of nodes, and could not pull it.
func withoutImage(image string) string {
	if exec.Command("docker", "image", "inspect", image).Run() == nil {
		return ""
	}
	return fmt.Sprintf("; Docker has no image %s: --node-image names another, and kind/lab/up.sh makes one where there is no registry", image)
}

// found says what there is of the name already. Nodes that do not run are an error: a
// cluster does not come back by itself.
func (c *Clusters) found(o CreateOptions) error {
	nodes, err := c.provider.ListInternalNodes(c.o.Name)
	if err != nil {
		return fmt.Errorf("list the nodes of %s: %w", c.o.Name, err)
	}
	var list, stopped []string
	for _, n := range nodes {
		out, err := exec.Command("docker", "inspect", "--format", "{{.State.Status}} {{.Config.Image}}", n.String()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("look at the node %s: %s", n.String(), lastLine(out))
		}
		state, image, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		list = append(list, fmt.Sprintf("%s (%s, %s)", n.String(), image, state))
		if state != "running" {
			stopped = append(stopped, n.String())
		}
	}
	remedy := "windtunnel kind delete --name " + c.o.Name
	if len(stopped) > 0 {
		return fmt.Errorf("there is a kind cluster %s already, and it does not run: %s; docker start %s revives it, %s removes it",
			c.o.Name, strings.Join(list, ", "), strings.Join(stopped, " "), remedy)
	}
	fmt.Fprintf(c.o.Progress, "there is a kind cluster %s already, which is used: %s; another --name makes another, %s removes it\n", c.o.Name, strings.Join(list, ", "), remedy)
	if o.NodeImage != "" || o.Config != "" || o.IPFamily != "" {
		fmt.Fprintln(c.o.Progress, "warning: it stays as it is: --node-image, --config and --ip-family are for clusters that are made")
	}
	return nil
}

// Memory warns, with the numbers, where Docker has less memory than a cluster with a
// mesh takes; "" where it has enough.
func (c *Clusters) Memory(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "docker", "info", "--format", "{{.MemTotal}}").Output()
	total, parsed := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil || parsed != nil || total >= enough {
		return "" // an answer that is no number is no reason not to try
	}
	return fmt.Sprintf("Docker has %d MiB of memory; a cluster with a mesh and bookinfo takes about %d MiB: Pods may wait for it, or be killed", total>>20, int64(enough)>>20)
}

// enough is the memory of a one-node cluster with a mesh and bookinfo, in bytes: measured
// were 545 MiB without them, 959 with them (docker stats), and scenarios come on top.
const enough = 1536 << 20

// Delete removes the cluster and its entries in the kubeconfig; one that is not there is
// removed already.
func (c *Clusters) Delete() error {
	if err := c.provider.Delete(c.o.Name, c.o.Kubeconfig); err != nil {
		return fmt.Errorf("delete the kind cluster %s: %w", c.o.Name, err)
	}
	return nil
}

// CollectLogs writes the logs of the cluster's nodes and containers into a folder.
func (c *Clusters) CollectLogs(dir string) error { return c.provider.CollectLogs(c.o.Name, dir) }

// Load puts images that Docker has into all nodes.
func (c *Clusters) Load(ctx context.Context, images []string) error {
	nodes, err := c.provider.ListInternalNodes(c.o.Name)
	if err != nil {
		return fmt.Errorf("list the nodes of %s: %w", c.o.Name, err)
	}
	if len(nodes) == 0 {
		return fmt.Errorf("there is no kind cluster %s", c.o.Name)
	}
	for _, name := range images {
		if err := exec.CommandContext(ctx, "docker", "image", "inspect", name).Run(); err != nil {
			return fmt.Errorf("docker has no image %s: make images builds those of windtunnel", name)
		}
	}
	for _, node := range nodes {
		var stderr bytes.Buffer
		save := exec.CommandContext(ctx, "docker", append([]string{"save"}, images...)...)
		save.Stderr = &stderr
		archive, err := save.StdoutPipe()
		if err == nil {
			err = save.Start()
		}
		if err != nil {
			return fmt.Errorf("docker save: %w", err)
		}
		err = nodeutils.LoadImageArchive(node, archive)
		if end := save.Wait(); end != nil && err == nil {
			err = fmt.Errorf("docker save: %w: %s", end, lastLine(stderr.Bytes()))
		}
		if err != nil {
			return fmt.Errorf("load images into %s: %w", node.String(), err)
		}
		fmt.Fprintf(c.o.Progress, "%s has %d images\n", node.String(), len(images))
	}
	return nil
}

// logger writes what kind tells people.
type logger struct{ w io.Writer }

func (l logger) Warn(message string)              { fmt.Fprintln(l.w, message) }
func (l logger) Warnf(format string, args ...any) { fmt.Fprintf(l.w, format+"\n", args...) }
func (l logger) Error(message string)             { fmt.Fprintln(l.w, message) }
func (l logger) Errorf(format string, args ...any) {
	fmt.Fprintf(l.w, format+"\n", args...)
}

// V implements log.Logger: level 0 is for people, the others are for kind's makers.
func (l logger) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return info(l)
}

type info struct{ w io.Writer }

func (i info) Info(message string)              { fmt.Fprintln(i.w, message) }
func (i info) Infof(format string, args ...any) { fmt.Fprintf(i.w, format+"\n", args...) }
func (i info) Enabled() bool                    { return true }
