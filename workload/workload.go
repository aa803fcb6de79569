// Package workload is what runs in the test pods of a real cluster: the same stand-ins
// for images as in the simulator (sim/images), on the operating system's network, and an
// agent that makes calls when it is asked to (load/remote). One program plays every image;
// its arguments, or the name it is called by, say which.
//
// It must import neither the control plane nor the data plane.
package workload

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/load/remote"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/images"
	"github.com/windtunnel-mesh/windtunnel/workload/fault"
)

// AgentAddress is where the agent listens. It is the pod's own localhost, which sidecars
// do not capture and other pods do not reach: a port-forward does.
const AgentAddress = "127.0.0.1:15099"

// AgentEnv names another address for the agent; "off" for none.
const AgentEnv = "WORKLOAD_AGENT"

// linger is how long a server serves on after the signal to end. Kubernetes sends that while
// it takes the Pod out of its Services, and whoever has not heard of it yet still sends
// requests: a server that closes its port at once costs those.
const linger = 3 * time.Second

// grace is what requests get to finish when the container is stopped.
const grace = 20 * time.Second

// World is what a process has.
type World struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            map[string]string
	Hostname       string
	Network        netx.Network
}

// ErrHelp is returned for --help, after the usage was written.
var ErrHelp = pflag.ErrHelp

const usage = `workload plays a container image, or makes calls.

  workload run --image IMAGE [--port N ...] [--behaviour JSON]   play an image of the catalogue
  workload bookinfo SERVICE VERSION                              the same for bookinfo: reviews v2
  workload agent                                                 make the calls that POST /call asks for
  workload call                                                  make the call on standard input, print what came of it
  workload node                                                  break the Pods of this node as POST /fault asks for (privileged)
  workload sleep SECONDS|infinity                                wait
  workload curl [OPTIONS] URL; workload fortio load [OPTIONS] URL
                                                                 what tutorials type into Pods

run, bookinfo, agent and sleep have the agent at ` + AgentAddress + `, or where ` + AgentEnv + ` says (off: nowhere).
`

// Main runs until the context ends or the work is done.
func Main(ctx context.Context, args []string, w World) error {
	if len(args) == 0 {
		fmt.Fprint(w.Stderr, usage)
		return errors.New("what to do is missing")
	}
	switch command, args := args[0], args[1:]; command {
	case "run":
		return w.run(ctx, args)
	case "bookinfo":
		if len(args) != 2 {
			return errors.New("bookinfo: expected a service and a version, such as reviews v2")
		}
		return w.run(ctx, []string{"--image", "istio/examples-bookinfo-" + args[0] + "-" + args[1]})
	case "agent":
		return w.withAgent(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
	case "call":
		return w.call(ctx)
	case "node":
		return w.node(ctx)
	case "sleep":
		return w.sleep(ctx, args)
	case "curl":
		return w.curl(ctx, args)
	case "fortio":
		return w.fortio(ctx, args)
	case "help", "--help", "-h":
		fmt.Fprint(w.Stdout, usage)
		return nil
	default:
		return fmt.Errorf("unknown command %q", command)
	}
}

func (w World) run(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("workload run", pflag.ContinueOnError)
	f.SetOutput(w.Stderr)
	f.SetInterspersed(false)
	image := f.String("image", "", "the `image` to play")
	ports := f.IntSlice("port", nil, "`port` to listen on (default: the image's own)")
	behaviour := f.String("behaviour", "", "what it does, as the `JSON` of a declared behaviour: {\"HTTP\": {\"Status\": 503}}")
	lingers := f.Duration("linger", linger, "how long to serve on after the signal to end, while clients get to know")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *image == "" {
		return errors.New("run: --image is needed")
	}
	found, err := find(*image, *behaviour)
	if err != nil {
		return err
	}
	c := images.Container{
		Pod:     &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: w.Hostname}},
		Spec:    corev1.Container{Name: "workload", Image: *image, Args: f.Args()}, // what follows is for the image's own program
		Network: everywhere{w.Network}, Env: w.Env, Seed: seed.New(0).Sub("app/" + w.Hostname),
	}
	for _, p := range *ports {
		if p < 1 || p > 65535 {
			return fmt.Errorf("run: --port %d: must be between 1 and 65535", p)
		}
		c.Spec.Ports = append(c.Spec.Ports, corev1.ContainerPort{ContainerPort: int32(p)})
	}
	if *behaviour != "" && len(found.Ports) == 0 && len(*ports) == 0 {
		return fmt.Errorf("run: where %s listens is not known: --port is needed", *image)
	}
	return w.withAgent(ctx, func(ctx context.Context) error {
		process, err := found.Start(context.WithoutCancel(ctx), c)
		if err != nil {
			return err
		}
		<-ctx.Done()
		time.Sleep(*lingers)
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		return process.Shutdown(limited)
	})
}

// find looks the image up, with a behaviour that was declared for it in front.
func find(image, behaviour string) (images.Image, error) {
	var declared []spec.Behaviour
	if behaviour != "" {
		d := json.NewDecoder(strings.NewReader(behaviour))
		d.DisallowUnknownFields()
		var b spec.Behaviour
		if err := d.Decode(&b); err != nil {
			return images.Image{}, fmt.Errorf("run: --behaviour: %w", err)
		}
		b.Image, b.Workload = image, ""
		declared = append(declared, b)
	}
	return images.NewCatalogue(declared).Find("", image)
}

// withAgent runs f beside the agent.
func (w World) withAgent(ctx context.Context, f func(context.Context) error) error {
	address := cmp.Or(w.Env[AgentEnv], AgentAddress)
	if address == "off" {
		return f(ctx)
	}
	return w.serve(ctx, address, remote.Handler(w.Network), f)
}

// node is the agent that breaks Pods.
func (w World) node(ctx context.Context) error {
	return w.serve(ctx, cmp.Or(w.Env[AgentEnv], AgentAddress), fault.Handler(), func(ctx context.Context) error { <-ctx.Done(); return nil })
}

// serve runs f beside an agent.
func (w World) serve(ctx context.Context, address string, handler http.Handler, f func(context.Context) error) error {
	l, err := w.Network.Listen(ctx, address)
	if err != nil {
		return fmt.Errorf("listen for the agent: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	err = f(ctx)
	server.Close()
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("agent: %w", e))
	}
	return err
}

func (w World) call(ctx context.Context) error {
	c, err := remote.Read(w.Stdin)
	if err != nil {
		return err
	}
	return json.NewEncoder(w.Stdout).Encode(c.Do(ctx, w.Network))
}

// sleep waits as the command of that name does; manifests keep containers alive with it.
func (w World) sleep(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("sleep: expected a number of seconds, or infinity")
	}
	if args[0] != "infinity" && args[0] != "inf" {
		seconds, err := strconv.ParseFloat(strings.TrimSuffix(args[0], "s"), 64)
		if err != nil || seconds < 0 {
			return fmt.Errorf("sleep: %q: expected a number of seconds, or infinity", args[0])
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
		defer cancel()
	}
	return w.withAgent(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
}

// System is the world of this process.
func System() World {
	env := make(map[string]string)
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	// A name that is not known is empty: it is shown to people only.
	hostname, _ := os.Hostname()
	return World{os.Stdin, os.Stdout, os.Stderr, env, hostname, netx.System{}}
}
