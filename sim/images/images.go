// Package images is the catalogue of what container images do: for each image that
// people's manifests name, a stand-in that runs in the process and behaves as the
// image does on its ports. Images that are not in the catalogue get the behaviour that
// a scenario declares; an image with neither is refused with both ways to declare it.
package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Container is one container that is about to run.
type Container struct {
	Pod      *corev1.Pod
	Spec     corev1.Container
	Workload string
	Network  netx.Network
	Env      map[string]string
	// Spans is where images that collect spans keep them; nil: they are refused.
	Spans http.Handler
	Seed  seed.Seed
	// Wrap, where set, stands before the HTTP handler.
	Wrap func(http.Handler) http.Handler
	// Files are those of mounted ConfigMaps and Secrets, by path.
	Files map[string][]byte
}

// hostname is what its programs are told: the Pod's own, or its name.
func (c Container) hostname() string { return cmp.Or(c.Pod.Spec.Hostname, c.Pod.Name) }

// Image is what an image does.
type Image struct {
	// Ports are listened on where the container declares none.
	Ports []int
	// Listens tells the ports of an image whose arguments name them, whatever is declared.
	Listens func(args []string) []int
	// Handler makes the server; nil where the image only waits (curl, sleep), or has
	// Servers alone.
	Handler func(Container) (http.Handler, error)
	// Cleartext2 has the HTTP server speak HTTP/2 with prior knowledge, too.
	Cleartext2 bool
	// Servers are those of ports on which it speaks something else than HTTP.
	Servers map[int]func(Container) (Server, error)
	// Default is the server of all ports that are not in Servers, where Handler is nil.
	Default func(Container) (Server, error)
	secure  *securing // nil: plain text
	// startup is how long after its start the process begins to listen.
	startup time.Duration
}

// Server serves the connections of a port until it is closed.
type Server interface {
	Serve(net.Listener) error
	Close() error
}

// Catalogue finds images: the behaviours that a scenario declares come first.
type Catalogue struct{ behaviours []spec.Behaviour }

// NewCatalogue returns the catalogue with a scenario's declarations in front.
func NewCatalogue(behaviours []spec.Behaviour) *Catalogue { return &Catalogue{behaviours} }

// ErrUnknown is the reason why a container cannot run.
var ErrUnknown = errors.New("unknown image")

// Declared returns what the scenario declares of containers of that workload and image.
func (c *Catalogue) Declared(workload, image string) (spec.Behaviour, bool) {
	for _, b := range c.behaviours {
		if (b.Workload != "" && b.Workload == workload) || (b.Image != "" && matches(b.Image, image)) {
			return b, true
		}
	}
	return spec.Behaviour{}, false
}

// Find returns what a container of that workload and image does.
func (c *Catalogue) Find(workload, image string) (Image, error) {
	if b, ok := c.Declared(workload, image); ok {
		known, _ := known(image) // for the ports of an image whose container declares none
		declared := Image{Ports: known.Ports, Cleartext2: true, startup: b.Startup}
		if b.GRPC != nil {
			declared.Default = func(k Container) (Server, error) { return newGRPC(k, *b.GRPC) }
		} else {
			declared.Handler = func(k Container) (http.Handler, error) { return newBehaviour(k, b.HTTP), nil }
		}
		var err error
		if b.TLS != nil {
			declared.secure, err = newSecuring(b.TLS, b.GRPC != nil)
		}
		return declared, err
	}
	if known, ok := known(image); ok {
		return known, nil
	}
	return Image{}, &UnknownError{Workload: workload, Image: image}
}

// known returns what the catalogue itself says of an image.
func known(image string) (Image, bool) {
	repository := Repository(image)
	for _, entry := range table {
		name := repository
		pattern, anywhere := strings.CutPrefix(entry.pattern, "**/")
		if anywhere {
			name = path.Base(repository)
		}
		if ok, _ := path.Match(pattern, name); ok {
			return entry.image(repository), true
		}
	}
	return Image{}, false
}

// UnknownError says that nobody can play an image. It is an ErrUnknown.
type UnknownError struct{ Workload, Image string }

// Error implements error.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("%s: the catalogue does not know what %q does", ErrUnknown, e.Image)
}

// Is makes it an ErrUnknown.
func (e *UnknownError) Is(target error) bool { return target == ErrUnknown }

// Hint is the two ways to declare it in the scenario.
func (e *UnknownError) Hint() string {
	return fmt.Sprintf("declare it in the scenario, by image (behaviours: [{image: %q, http: {status: 200, body: ok}}]) or by workload (behaviours: [{workload: %s, http: {status: 200}}])",
		Repository(e.Image)+":*", e.Workload)
}

// Repository is an image's name without registry docker.io, library/, tag and digest.
func Repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if slash, colon := strings.LastIndexByte(image, '/'), strings.LastIndexByte(image, ':'); colon > slash {
		image = image[:colon]
	}
	for _, prefix := range []string{"docker.io/", "index.docker.io/", "registry-1.docker.io/"} {
		image = strings.TrimPrefix(image, prefix)
	}
	return strings.TrimPrefix(image, "library/")
}

// matches compares an image with a pattern in which * stands for anything, also
// slashes; a pattern without a tag matches every tag.
func matches(pattern, image string) bool {
	return glob(pattern, image) || glob(pattern, Repository(image)) || glob(strings.TrimPrefix(pattern, "docker.io/"), strings.TrimPrefix(image, "docker.io/"))
}

func glob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	for i := len(first); i <= len(s); i++ {
		if glob(rest, s[i:]) {
			return true
		}
	}
	return false
}

// Process is a container that runs.
type Process struct {
	active atomic.Int64

	mu      sync.Mutex
	servers []Server
	closed  bool
}

// add takes a server; false where the process has ended meanwhile.
func (p *Process) add(s Server) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.servers = append(p.servers, s)
	}
	return !p.closed
}

// end returns the servers, once.
func (p *Process) end() []Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	servers := p.servers
	p.servers, p.closed = nil, true
	return servers
}

// Active is how many requests it is answering.
func (p *Process) Active() int { return int(p.active.Load()) }

// counted notes the requests that are being answered.
func (p *Process) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.active.Add(1)
		defer p.active.Add(-1)
		h.ServeHTTP(w, r)
	})
}

// Start runs a container: it listens on the container's ports and returns. One that takes
// its time to start listens later.
func (i Image) Start(ctx context.Context, c Container) (*Process, error) {
	p := &Process{}
	if i.Handler == nil && i.Default == nil && len(i.Servers) == 0 {
		return p, nil
	}
	rest, err := i.rest(ctx, c, p)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", c.Spec.Name, err)
	}
	if i.startup > 0 {
		go func() { // ends with ctx
			if sleep(ctx, i.startup) {
				_ = i.listen(ctx, c, p, rest) // who calls is refused then
			}
		}()
		return p, nil
	}
	if err := i.listen(ctx, c, p, rest); err != nil {
		return nil, err
	}
	return p, nil
}

// listen opens the ports.
func (i Image) listen(ctx context.Context, c Container, p *Process, rest Server) error {
	for _, port := range i.ports(c) {
		server, err := rest, error(nil)
		if special := i.Servers[port]; special != nil {
			if server, err = special(c); err != nil {
				p.Close()
				return fmt.Errorf("container %s: port %d: %w", c.Spec.Name, port, err)
			}
		}
		if server == nil {
			continue
		}
		l, err := c.Network.Listen(ctx, fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			p.Close()
			return fmt.Errorf("container %s: %w", c.Spec.Name, err)
		}
		if !p.add(server) {
			return l.Close()
		}
		go server.Serve(i.secure.listener(l, port)) // ends with Close; its error is that of a closed server then
	}
	return nil
}

// rest is the server of the ports that have none of their own; nil: there is none.
func (i Image) rest(ctx context.Context, c Container, p *Process) (Server, error) {
	if i.Handler == nil {
		if i.Default == nil {
			return nil, nil
		}
		return i.Default(c)
	}
	handler, err := i.Handler(c)
	if err != nil {
		return nil, err
	}
	if b, ok := handler.(*behaviour); ok {
		go b.start(ctx) // ends with its calls, which end with ctx
	}
	if c.Wrap != nil {
		handler = c.Wrap(handler)
	}
	server := &http.Server{Handler: p.counted(handler), ErrorLog: log.New(io.Discard, "", 0), BaseContext: func(net.Listener) context.Context { return ctx }}
	if i.Cleartext2 {
		server.Protocols = new(http.Protocols)
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
	}
	return server, nil
}

// ports are those that the arguments name, where the image's do, else the container's
// declared TCP ports, or the image's own.
func (i Image) ports(c Container) []int {
	if i.Listens != nil {
		if ports := i.Listens(c.Spec.Args); len(ports) > 0 {
			return ports
		}
	}
	var ports []int
	for _, p := range c.Spec.Ports {
		if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
			ports = append(ports, int(p.ContainerPort))
		}
	}
	if len(ports) == 0 {
		return i.Ports
	}
	return ports
}

// Close ends the process as a kill would: listeners and connections are closed.
func (p *Process) Close() {
	for _, s := range p.end() {
		s.Close()
	}
}

// Shutdown ends the process as one that is asked to: listeners are closed, HTTP requests
// get until ctx ends to finish. Servers of other protocols are closed.
func (p *Process) Shutdown(ctx context.Context) error {
	var errs []error
	for _, s := range p.end() {
		if polite, ok := s.(interface{ Shutdown(context.Context) error }); ok {
			errs = append(errs, polite.Shutdown(ctx))
		} else {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}
