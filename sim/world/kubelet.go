package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshproxy"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
	"github.com/windtunnel-mesh/windtunnel/sim/cluster"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
	"github.com/windtunnel-mesh/windtunnel/sim/images"
)

// node is a Pod that runs: its host, its sidecar or gateway, its applications.
type node struct {
	pod       *corev1.Pod
	workload  string
	host      fabric.Host
	proxy     *meshproxy.Proxy // nil without a sidecar
	cancel    context.CancelFunc
	done      chan struct{} // closed when the proxy and the control plane have ended
	processes []*images.Process
}

// appUser is the user that application containers run as unless they say otherwise.
const appUser = 1000

var _ cluster.Kubelet = (*World)(nil)

// Start implements cluster.Kubelet.
func (w *World) Start(_ context.Context, pod *corev1.Pod) error {
	addr, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return err
	}
	host, err := w.o.Fabric.AddHost(pod.Name, addr)
	if err != nil {
		return err
	}
	n := &node{pod: pod, workload: workloadOf(pod), host: host, done: make(chan struct{})}
	w.log.know(addr, place{pod.Name, pod.Namespace, n.workload})
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(w.ctx)
	w.nodes[pod.Name] = n
	if err := w.startContainers(ctx, n); err != nil {
		return errors.Join(err, w.Stop(ctx, pod))
	}
	return nil
}

// workloadOf is the name of the Pod's controller.
func workloadOf(pod *corev1.Pod) string {
	for _, o := range pod.OwnerReferences {
		return o.Name
	}
	return pod.Name
}

// startContainers runs the init containers' work, then the containers in order.
func (w *World) startContainers(ctx context.Context, n *node) error {
	for _, c := range n.pod.Spec.InitContainers {
		if c.Name != inject.InitContainer {
			continue
		}
		rules, err := captureRules(c)
		if err != nil {
			return fmt.Errorf("init container %s: %w", c.Name, err)
		}
		n.host.SetCapture(rules)
	}
	var wait []func()
	// Also where a container does not start: what has started is waited for.
	defer func() {
		go func() {
			for _, ended := range wait {
				ended()
			}
			close(n.done)
		}()
	}()
	for _, c := range n.pod.Spec.Containers {
		ended, err := w.startContainer(ctx, n, c)
		if err != nil {
			return err
		}
		if ended != nil {
			wait = append(wait, ended)
		}
		// The postStart of holdApplicationUntilProxyStarts waits for the proxy, and
		// containers start one after the other.
		if c.Name == inject.ProxyContainer && c.Lifecycle != nil && c.Lifecycle.PostStart != nil {
			if err := w.WaitReady(ctx, n.pod); err != nil {
				return err
			}
		}
	}
	return nil
}

func captureRules(c corev1.Container) (*capture.Rules, error) {
	o, err := capture.ParseArgs(c.Args[1:]) // the first word names the program's part
	if err != nil {
		return nil, err
	}
	return capture.New(o)
}

// startContainer returns a function that waits for the container's end, or nil
// where its Close does.
func (w *World) startContainer(ctx context.Context, n *node, c corev1.Container) (func(), error) {
	env := inject.Env(n.pod, c.Name, n.pod.Status.PodIP, n.pod.Status.HostIP)
	switch {
	case c.Name == inject.ProxyContainer:
		return w.startProxy(ctx, n, c, env)
	case c.Image == meshdImage:
		return w.startMeshd(ctx, n)
	}
	image, err := w.images.Find(n.workload, c.Image)
	if err != nil {
		return nil, err
	}
	uid := user(n.pod, c)
	process, err := image.Start(ctx, images.Container{
		Pod: n.pod, Spec: c, Workload: n.workload, Env: env,
		Network: n.host.Network(uid, uid),
		Seed:    w.o.Seed.Sub("app/" + n.pod.Name + "/" + c.Name),
	})
	if err != nil {
		return nil, err
	}
	n.processes = append(n.processes, process)
	return nil, nil
}

// user is the uid that a container's processes have.
func user(pod *corev1.Pod, c corev1.Container) int {
	if s := c.SecurityContext; s != nil && s.RunAsUser != nil {
		return int(*s.RunAsUser)
	}
	if s := pod.Spec.SecurityContext; s != nil && s.RunAsUser != nil {
		return int(*s.RunAsUser)
	}
	return appUser
}

// startProxy runs meshproxy with the arguments that the injector wrote.
func (w *World) startProxy(ctx context.Context, n *node, c corev1.Container, env map[string]string) (func(), error) {
	options, err := meshproxy.ParseArgs(inject.Expand(c.Args, env), io.Discard)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", c.Name, err)
	}
	token, err := w.tokens.Issue(n.pod.Namespace, n.pod.Spec.ServiceAccountName, n.pod.Name)
	if err != nil {
		return nil, err
	}
	uid := user(n.pod, c)
	options.Network = n.host.Network(uid, uid)
	options.ReadFile = mounts(token, w.ca.RootPEM())
	options.Seed = w.o.Seed.Sub("proxy/" + n.pod.Name)
	options.KeyType = w.keyType()
	options.Deterministic = w.o.Deterministic
	options.AccessLog = w.log.sink(place{n.pod.Name, n.pod.Namespace, n.workload})
	options.OnEvent = func(e upstream.Event) { w.log.ejection(n.pod.Name, e) }
	options.Logger = w.o.Logger.With("proxy", n.pod.Name)
	if n.proxy, err = meshproxy.New(options); err != nil {
		return nil, fmt.Errorf("container %s: %w", c.Name, err)
	}
	w.metrics.add(n.pod, n.proxy.Stats())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := n.proxy.Run(ctx); err != nil && ctx.Err() == nil {
			w.log.event("proxy", n.pod.Name, "ended: "+err.Error())
		}
	}()
	return func() { <-ended }, nil
}

// WaitReady implements cluster.Kubelet.
func (w *World) WaitReady(ctx context.Context, pod *corev1.Pod) error {
	n := w.nodes[pod.Name]
	var ready <-chan struct{}
	switch {
	case n.proxy != nil:
		ready = n.proxy.Ready()
	case isMeshd(pod):
		ready = w.meshd.Ready()
	default:
		return nil
	}
	select {
	case <-ready:
		return nil
	case <-n.done:
		return errors.New("its proxy ended before it was ready")
	case <-ctx.Done():
		return fmt.Errorf("wait until it is ready: %w", context.Cause(ctx))
	}
}

// Stop implements cluster.Kubelet. The Pod has been withdrawn from its Services:
// it ends when no proxy sends to it any more.
func (w *World) Stop(ctx context.Context, pod *corev1.Pod) error {
	n := w.nodes[pod.Name]
	if n == nil {
		return nil
	}
	err := w.settle(ctx)
	delete(w.nodes, pod.Name)
	w.metrics.remove(pod)
	return errors.Join(err, n.close())
}

// close ends everything in the Pod and waits for it.
func (n *node) close() error {
	n.cancel()
	for _, p := range n.processes {
		p.Close()
	}
	err := n.host.Close()
	<-n.done
	return err
}

// mounts are the files of a Pod that its proxy reads.
func mounts(token string, root []byte) func(string) ([]byte, error) {
	files := map[string][]byte{inject.TokenPath: []byte(token), inject.RootCertPath: root}
	return func(path string) ([]byte, error) {
		if data, ok := files[path]; ok {
			return data, nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
}
