package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// BenchmarkProxyProcesses drives 32 kept connections through a proxy process that has one
// processor: meshproxy as `make build` makes it, net/http/httputil.ReverseProxy, and what
// other peers are installed, in turn. cpu-µs/op is what the process itself used. Machines
// are not the same from minute to minute, and -count repeats one proxy after the other:
// compare the medians of several runs of all.
func BenchmarkProxyProcesses(b *testing.B) {
	app := backend(b)
	dir := b.TempDir()
	if out, err := exec.Command("make", "-C", "..", "BIN="+dir, dir+"/meshproxy").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	build, err := OpenBuild("test", dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Setenv(peerEnv, "yes")
	p := Plan{Dir: b.TempDir(), ReverseProxy: []string{os.Args[0]}}
	for _, name := range []string{"meshproxy", "go", "nginx", "haproxy", "envoy"} {
		if why := missing(name); why != "" {
			b.Log(why)
			continue
		}
		b.Run(cmp.Or(map[string]string{"go": "ReverseProxy"}[name], name), func(b *testing.B) {
			running, err := p.peerBefore(b.Context(), name, build, app)
			if err != nil {
				b.Fatal(err)
			}
			defer running.stop()
			drive(b, running)
		})
	}
}

// answer is what the backend sends: 64 bytes of body.
var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n" + strings.Repeat("x", 64))

// backend answers every request at once, without looking at it.
func backend(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 4096)
				for {
					n, err := c.Read(buffer)
					if err != nil {
						return
					}
					for range bytes.Count(buffer[:n], []byte("\r\n\r\n")) {
						if _, err := c.Write(answer); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// drive sends a peer b.N requests. It has a processor of its own, where there is a second
// one for the load: then the proxy is what limits the rate.
func drive(b *testing.B, p *peer) {
	if runtime.NumCPU() > 1 {
		if err := pinAll([]proxy{{pid: p.pid()}}); err != nil {
			b.Log(err)
		}
	}
	const connections = 32
	conns := make([]net.Conn, connections)
	for i := range conns {
		var err error
		if conns[i], err = p.dial(b.Context(), "", ""); err != nil {
			b.Fatal(err)
		}
		defer conns[i].Close()
	}
	exchange(b, conns, 4*connections) // warm
	before, err := read(p.pid())
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	exchange(b, conns, b.N)
	b.StopTimer()
	after, err := read(p.pid())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((after.cpu-before.cpu).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// exchange sends n requests over all connections, one at a time on each.
func exchange(b *testing.B, conns []net.Conn, n int) {
	request := []byte("GET /bench HTTP/1.1\r\nHost: app\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	var wait sync.WaitGroup
	for i, c := range conns {
		share := n / len(conns)
		if i < n%len(conns) {
			share++
		}
		wait.Go(func() {
			in := bufio.NewReader(c)
			for range share {
				if _, err := c.Write(request); err != nil {
					b.Error(err)
					return
				}
				if err := readAnswer(in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

// readAnswer wants an answer of 200 with the backend's 64 bytes.
func readAnswer(in *bufio.Reader) error {
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("answered %q", line)
		}
		if len(line) == 2 {
			_, err := in.Discard(64)
			return err
		}
	}
}
