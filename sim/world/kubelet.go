package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	pod      *corev1.Pod
	workload string
	host     fabric.Host
	proxy    *meshproxy.Proxy // nil without a sidecar, while it is dead, and where it is a process
	daemon   *daemon          // the proxy or the control plane; nil: the Pod has none
	ctx      context.Context
	cancel   context.CancelFunc
	apps     []*application // its containers but the proxy's and the control plane's
	probing  sync.WaitGroup // of their probes
	up       bool           // its proxy, if it has one, has been ready
	ending   atomic.Bool    // what its processes say of that is nothing new
}

// daemon is a proxy or a control plane that runs in a Pod, and what starts it again.
type daemon struct {
	container corev1.Container
	cancel    context.CancelFunc
	ready     <-chan struct{}
	ended     chan struct{}
	err       error // why it ended by itself; after ended
}

// stop ends the process and waits for its end.
func (d *daemon) stop() {
	d.cancel()
	<-d.ended
}

// runs tells whether the process has not ended.
func (d *daemon) runs() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// errStopped is why a daemon ended that was told to.
var errStopped = errors.New("it was stopped")

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
	n := &node{pod: pod, workload: workloadOf(pod), host: host}
	w.log.born(pod.Name)
	w.log.know(addr, place{pod.Name, pod.Namespace, n.workload})
	n.ctx, n.cancel = context.WithCancel(w.ctx)
	w.setNode(pod.Name, n)
	if err := w.startContainers(n.ctx, n); err != nil {
		return errors.Join(err, w.Stop(n.ctx, pod))
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
		if c.Name == inject.ProxyContainer { // a native sidecar: what comes next waits for it
			if err := w.startContainer(ctx, n, c); err != nil {
				return err
			}
			if err := w.waitDaemon(ctx, n); err != nil {
				return err
			}
		}
		if c.Name != inject.InitContainer {
			continue
		}
		rules, err := captureRules(n.pod.Namespace, c)
		if err != nil {
			return fmt.Errorf("init container %s: %w", c.Name, err)
		}
		n.host.SetCapture(rules)
	}
	for _, c := range n.pod.Spec.Containers {
		if err := w.startContainer(ctx, n, c); err != nil {
			return err
		}
		// The postStart of holdApplicationUntilProxyStarts waits for the proxy, and
		// containers start one after the other.
		if c.Name == inject.ProxyContainer && c.Lifecycle != nil && c.Lifecycle.PostStart != nil {
			if err := w.waitDaemon(ctx, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func captureRules(namespace string, c corev1.Container) (*capture.Rules, error) {
	o, err := capture.ParseArgs(c.Args[1:]) // the first word names the program's part
	if err != nil {
		return nil, err
	}
	o.DNSServers = capture.NameServers(resolvConf(namespace))
	return capture.New(o)
}

// startContainer starts a container's process.
func (w *World) startContainer(ctx context.Context, n *node, c corev1.Container) error {
	env := inject.Env(n.pod, c.Name, n.pod.Status.PodIP, n.pod.Status.HostIP)
	switch {
	case c.Name == inject.ProxyContainer:
		return w.startProxy(ctx, n, c, env)
	case c.Image == meshdImage:
		return w.startMeshd(ctx, n, c)
	}
	a, err := newApplication(w, n, c)
	if err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	if a.process, err = w.startProcess(ctx, n, c, env); err != nil {
		return err
	}
	n.apps = append(n.apps, a)
	a.probe(ctx)
	return nil
}

// startProcess starts what an application's container runs.
func (w *World) startProcess(ctx context.Context, n *node, c corev1.Container, env map[string]string) (*images.Process, error) {
	image, err := w.images.Find(n.workload, c.Image)
	if err != nil {
		return nil, err
	}
	files, err := w.mounted(n.pod, c)
	if err != nil {
		return nil, err
	}
	uid := user(n.pod, c)
	var wrap func(http.Handler) http.Handler
	if w.o.Wrap != nil {
		wrap = func(h http.Handler) http.Handler { return w.o.Wrap(n.workload, h) }
	}
	process, err := image.Start(ctx, images.Container{
		Wrap: wrap,
		Pod:  n.pod, Spec: c, Workload: n.workload, Env: env, Files: files,
		Network: n.host.Network(uid, uid),
		Seed:    w.o.Seed.Sub("app/" + string(n.pod.UID) + "/" + c.Name),
		Spans:   w.spans,
	})
	if err != nil {
		return nil, err
	}
	return process, nil
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
func (w *World) startProxy(ctx context.Context, n *node, c corev1.Container, env map[string]string) error {
	options, err := meshproxy.ParseArgs(inject.Expand(c.Args, env), io.Discard)
	if err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	token, err := w.tokens.Issue(n.pod.Namespace, n.pod.Spec.ServiceAccountName, n.pod.Name)
	if err != nil {
		return err
	}
	uid := user(n.pod, c)
	if w.o.Programs != nil {
		return w.startProgram(ctx, n, c, env, token)
	}
	options.AppProbes, options.AppMetrics = env[inject.AppProbersEnv], env[inject.AppMetricsEnv]
	options.Network = n.host.Network(uid, uid)
	options.ReadFile = mounts(token, w.ca.RootPEM(), resolvConf(n.pod.Namespace))
	options.Seed = w.o.Seed.Sub("proxy/" + string(n.pod.UID))
	options.KeyType = w.keyType()
	options.Deterministic = w.o.Deterministic
	options.AccessLog = w.log.sink(place{n.pod.Name, n.pod.Namespace, n.workload})
	options.LogHeader = w.o.Watcher != nil
	options.Getenv = func(name string) string { return env[name] }
	options.OpenLog = w.access.opener(n.pod.Name)
	options.OnEvent = func(e upstream.Event) { w.log.ejection(n.pod.Name, e) }
	options.Logger = w.o.Logger.With("proxy", n.pod.Name)
	options.Shared = w.shared
	proxy, err := meshproxy.New(options)
	if err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	n.proxy = proxy
	w.metrics.add(n.pod, metricsPort, proxy.Stats())
	w.startDaemon(ctx, n, c, "proxy", proxy.Ready(), func(ctx context.Context) error {
		defer w.metrics.remove(n.pod)
		return proxy.Run(ctx)
	})
	return nil
}

// startDaemon runs a Pod's proxy or control plane.
func (w *World) startDaemon(ctx context.Context, n *node, c corev1.Container, what string, ready <-chan struct{}, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &daemon{container: c, cancel: cancel, ready: ready, ended: make(chan struct{})}
	n.daemon = d
	go func() { // ends with the process, at the latest
		select {
		case <-ready:
			w.readiness.change()
		case <-d.ended:
		}
	}()
	go func() {
		defer w.readiness.change()
		defer close(d.ended)
		if err := run(ctx); err != nil && ctx.Err() == nil && !n.ending.Load() {
			d.err = err
			w.log.event(what, n.pod.Name, "ended: "+err.Error())
		}
	}()
}

// Ready implements cluster.Kubelet: the proxy is ready, and the applications' probes say so.
func (w *World) Ready(pod *corev1.Pod) (bool, error) {
	n := w.nodes[pod.Name]
	if n == nil {
		return false, nil
	}
	if !n.up {
		if err := w.daemonReady(n); err != nil || !n.up {
			return false, err
		}
	}
	return !slices.ContainsFunc(n.apps, func(a *application) bool { return !a.isReady() }), nil
}

// daemonReady notes that the proxy or control plane of a Pod has become ready.
func (w *World) daemonReady(n *node) error {
	if n.daemon == nil {
		n.up = true
		return nil
	}
	if w.down && !isMeshd(n.pod) {
		return errNoControlPlane
	}
	select {
	case <-n.daemon.ready:
		n.up = true
		return nil
	default:
	}
	if n.daemon.runs() {
		return nil
	}
	return n.daemon.endedEarly()
}

// Changed implements cluster.Kubelet.
func (w *World) Changed() <-chan struct{} { return w.readiness.changed() }

// Waiting implements cluster.Kubelet.
func (w *World) Waiting(pod *corev1.Pod) string {
	n := w.nodes[pod.Name]
	if n == nil {
		return "it has ended"
	}
	if !n.up {
		return "its proxy is not ready"
	}
	for _, a := range n.apps {
		if why := a.waiting(); why != "" {
			return fmt.Sprintf("container %s: %s", a.container.Name, why)
		}
	}
	return "it was not ready for long enough"
}

// errNoControlPlane is why a Pod cannot get ready at the moment.
var errNoControlPlane = errors.New("its sidecar gets no configuration while the control plane is down")

func (d *daemon) endedEarly() error {
	return fmt.Errorf("its %s ended before it was ready: %w", d.container.Name, cmp.Or(d.err, errStopped))
}

// waitDaemon returns when the proxy or control plane of a Pod is ready.
func (w *World) waitDaemon(ctx context.Context, n *node) error {
	if n.daemon == nil {
		return nil
	}
	if w.down && !isMeshd(n.pod) {
		return errNoControlPlane
	}
	select {
	case <-n.daemon.ready:
		return nil
	case <-n.daemon.ended:
		return n.daemon.endedEarly()
	case <-ctx.Done():
		return fmt.Errorf("wait until it is ready: %w", context.Cause(ctx))
	}
}

// Stop implements cluster.Kubelet. The Pod has been withdrawn from its Services: it
// ends when no proxy sends to it any more and it has answered what it was asked, or
// when its grace period is over.
func (w *World) Stop(ctx context.Context, pod *corev1.Pod) error {
	n := w.nodes[pod.Name]
	if n == nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, graceOf(pod))
	defer cancel()
	err := w.settle(limited)
	for err == nil {
		if err = w.Sleep(limited, lastAnswer); n.idle() {
			break
		}
	}
	if limited.Err() != nil && ctx.Err() == nil {
		err = nil // then it is killed
	}
	w.log.killed(pod.Name)
	w.setNode(pod.Name, nil)
	return errors.Join(err, n.close())
}

// graceOf is how long a Pod may take to end.
func graceOf(pod *corev1.Pod) time.Duration {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return defaultGrace
}

// defaultGrace is Kubernetes' time for a Pod to end; lastAnswer is how long the last
// answer is given to be on its way.
const (
	defaultGrace = 30 * time.Second
	lastAnswer   = 20 * time.Millisecond
)

// idle tells whether the Pod's applications answer nothing at the moment.
func (n *node) idle() bool {
	return !slices.ContainsFunc(n.apps, (*application).busy)
}

// close ends everything in the Pod and waits for it. The network goes first: how much
// its goroutines would still say at this instant is the scheduler's.
func (n *node) close() error {
	n.ending.Store(true)
	err := n.host.Close()
	n.cancel()
	n.probing.Wait()
	for _, a := range n.apps {
		a.close()
	}
	if n.daemon != nil {
		n.daemon.stop()
	}
	return err
}

// mounts are the files of a Pod that its proxy reads.
func mounts(token string, root, resolver []byte) func(string) ([]byte, error) {
	files := map[string][]byte{inject.TokenPath: []byte(token), inject.RootCertPath: root, "/etc/resolv.conf": resolver}
	return func(path string) ([]byte, error) {
		if data, ok := files[path]; ok {
			return data, nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
}
