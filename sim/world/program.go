package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx/broker"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// Programs makes every proxy a process of its own, whose processor time and memory
// the operating system knows. Only a fabric of real sockets can: it lends them.
type Programs struct {
	Meshproxy string // the program
	Dir       string // for sockets and tokens; its path is short, a socket's has 108 bytes at most
	Env       []string

	mu      sync.Mutex
	running []Program
}

// Program is a proxy that runs as a process.
type Program struct {
	Pod, Workload string
	PID           int
	// Admin asks the proxy's admin port.
	Admin func(ctx context.Context, path string) ([]byte, error)
}

// Running lists the processes that have not ended, in the order of their start.
func (p *Programs) Running() []Program {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.running)
}

func (p *Programs) add(program Program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = append(p.running, program)
}

func (p *Programs) remove(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = slices.DeleteFunc(p.running, func(r Program) bool { return r.PID == pid })
}

// lends is a host whose sockets another process can use.
type lends interface {
	Lend(uid, gid int) broker.Source
}

const (
	adminAddress = "127.0.0.1:15000"
	readyPoll    = 5 * time.Millisecond
	// endLimit is how long a process may take to end once it is told to.
	endLimit = 10 * time.Second
)

// startProgram runs meshproxy as a process with the arguments that the injector wrote.
func (w *World) startProgram(ctx context.Context, n *node, c corev1.Container, env map[string]string, token string) error {
	host, ok := n.host.(lends)
	if rules := n.host.(interface{ Rules() fabric.Capture }).Rules(); rules != nil && asksProxy(rules, appUser, appUser) {
		return fmt.Errorf("container %s: %s is not supported where proxies are processes of their own: this world's network has no datagrams", c.Name, config.DNSCapture)
	}
	if !ok {
		return fmt.Errorf("container %s: this world's network lends no sockets to other processes", c.Name)
	}
	dir := filepath.Join(w.o.Programs.Dir, n.pod.Name)
	files := map[string][]byte{"token": []byte(token), "root.pem": w.ca.RootPEM()}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	uid := user(n.pod, c)
	lender, err := broker.Serve(filepath.Join(dir, "network"), host.Lend(uid, uid))
	if err != nil {
		return err
	}
	mounted := strings.NewReplacer(inject.TokenPath, filepath.Join(dir, "token"), inject.RootCertPath, filepath.Join(dir, "root.pem"))
	own := []string{"--network", filepath.Join(dir, "network"), "--token-path", inject.TokenPath, "--ca-root-path", inject.RootCertPath}
	var all []string
	for _, arg := range append(own, inject.Expand(c.Args, env)...) {
		all = append(all, mounted.Replace(arg))
	}
	command := exec.Command(w.o.Programs.Meshproxy, all...)
	command.Env = append(os.Environ(), w.o.Programs.Env...)
	for _, name := range []string{inject.AppProbersEnv, inject.AppMetricsEnv} {
		if v := env[name]; v != "" {
			command.Env = append(command.Env, name+"="+v)
		}
	}
	command.SysProcAttr = ownGroup()
	said := &Tail{}
	command.Stderr = said
	if err := command.Start(); err != nil {
		return errors.Join(err, lender.Close())
	}
	admin := adminClient(n.host.Network(uid, uid))
	pid := command.Process.Pid
	w.o.Programs.add(Program{Pod: n.pod.Name, Workload: n.workload, PID: pid, Admin: admin})
	ready := make(chan struct{})
	w.startDaemon(ctx, n, c, "proxy", ready, func(ctx context.Context) error {
		defer w.o.Programs.remove(pid)
		go awaitReady(ctx, admin, ready)
		return errors.Join(wait(ctx, command, said), lender.Close())
	})
	return nil
}

// wait lets the process run until the context ends.
func wait(ctx context.Context, command *exec.Cmd, said *Tail) error {
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err := <-ended:
		return fmt.Errorf("the process ended: %w: %s", err, said)
	case <-ctx.Done():
	}
	_ = command.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
	select {
	case <-ended:
	case <-time.After(endLimit):
		_ = command.Process.Kill()
		<-ended
	}
	return nil
}

// awaitReady closes ready once the proxy says that it is.
func awaitReady(ctx context.Context, admin func(context.Context, string) ([]byte, error), ready chan<- struct{}) {
	for ctx.Err() == nil {
		if _, err := admin(ctx, "/ready"); err == nil {
			close(ready)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(readyPoll):
		}
	}
}

// adminClient asks an admin port in the network of its Pod.
func adminClient(network netx.Network) func(context.Context, string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return network.Dial(ctx, addr)
	}}}
	return func(ctx context.Context, path string) ([]byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+adminAddress+path, nil)
		if err != nil {
			return nil, err
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", path, response.Status)
		}
		return data, err
	}
}

// Tail keeps the last of what a process says.
type Tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = t.text[over:]
	}
	return len(p), nil
}

// String is what is kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
