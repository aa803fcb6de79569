package simnet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	simbubble "github.com/windtunnel-mesh/windtunnel/sim/bubble"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
	"github.com/windtunnel-mesh/windtunnel/sim/trace"
)

// rules redirect as a sidecar's do: out to 15001 but for uid 1337, in to 15006.
type rules struct{}

func (rules) Output(p capture.Packet) capture.Verdict {
	if p.UID == 1337 || p.Loopback {
		return capture.Verdict{}
	}
	return capture.Verdict{Redirect: 15001}
}

func (rules) Prerouting(p capture.Packet) capture.Verdict { return capture.Verdict{Redirect: 15006} }

func TestCapture(t *testing.T) {
	bubble(t, Options{Latency: time.Millisecond}, func(f *fixture) {
		f.a.SetCapture(rules{})
		f.b.SetCapture(rules{})
		outbound, inbound := listen(t, f.a, ":15001"), listen(t, f.b, ":15006")
		app := listen(t, f.b, ":80")

		c, err := f.a.Network(1000, 1000).Dial(context.Background(), "10.96.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		s := accept(t, outbound)
		check(t, "dialler", c, "10.0.0.1:32768", "10.96.0.1:80", "")
		check(t, "outbound", s, "127.0.0.1:15001", "10.0.0.1:32768", "10.96.0.1:80")

		c, err = f.a.Network(1337, 1337).Dial(context.Background(), "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		s = accept(t, inbound)
		check(t, "proxy", c, "10.0.0.1:32768", "10.0.0.2:80", "")
		check(t, "inbound", s, "10.0.0.2:15006", "10.0.0.1:32768", "10.0.0.2:80")

		// Within the host no Prerouting is passed.
		c, err = f.b.Network(1337, 1337).DialFrom(context.Background(), netip.MustParseAddr("127.0.0.6"), "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		check(t, "passthrough", accept(t, app), "10.0.0.2:80", c.LocalAddr().String(), "")
		if !strings.HasPrefix(c.LocalAddr().String(), "127.0.0.6:") {
			t.Errorf("source is %s", c.LocalAddr())
		}
		for source, want := range map[string]error{"127.0.0.6": syscall.EINVAL, "10.0.0.9": syscall.EADDRNOTAVAIL} {
			if _, err := f.b.Network(1337, 1337).DialFrom(context.Background(), netip.MustParseAddr(source), "10.0.0.1:80"); !errors.Is(err, want) {
				t.Errorf("from %s: %v, want %v", source, err, want)
			}
		}
	})
}

func check(t *testing.T, what string, c net.Conn, local, remote, original string) {
	t.Helper()
	if c.LocalAddr().String() != local || c.RemoteAddr().String() != remote {
		t.Errorf("%s: %s > %s, want %s > %s", what, c.LocalAddr(), c.RemoteAddr(), local, remote)
	}
	got := ""
	if dst, ok := netx.OriginalDst(c); ok {
		got = dst.String()
	}
	if got != original {
		t.Errorf("%s: original destination %q, want %q", what, got, original)
	}
}

func TestNamesAndServices(t *testing.T) {
	bubble(t, Options{}, func(f *fixture) {
		f.SetResolver(func(from fabric.Process, name string) ([]netip.Addr, error) {
			if from.Host.Name() == "a" && name == "svc" {
				return []netip.Addr{netip.MustParseAddr("10.96.0.1")}, nil
			}
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		})
		f.SetServiceAddress(func(_ fabric.Host, dst netip.AddrPort) (netip.AddrPort, bool, error) {
			switch dst.String() {
			case "10.96.0.1:80":
				return netip.MustParseAddrPort("10.0.0.2:8080"), true, nil
			case "10.96.0.1:81":
				return netip.AddrPort{}, true, errors.New("no endpoints")
			}
			return netip.AddrPort{}, false, nil
		})
		l := listen(t, f.b, ":8080")
		c := dial(t, f.a, "svc:80")
		check(t, "dialler", c, "10.0.0.1:32768", "10.96.0.1:80", "")
		check(t, "endpoint", accept(t, l), "10.0.0.2:8080", "10.0.0.1:32768", "")
		_, err := f.a.Network(0, 0).Dial(context.Background(), "svc:81")
		if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "no endpoints") {
			t.Errorf("a service without endpoints: %v", err)
		}
		var dns *net.DNSError
		if _, err := f.b.Network(0, 0).Dial(context.Background(), "svc:80"); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("a name that b does not know: %v", err)
		}
	})
}

func TestRules(t *testing.T) {
	bubble(t, Options{Latency: time.Millisecond}, func(f *fixture) {
		c, s := f.pair(t)
		b := make([]byte, 10)
		exchange := func() time.Duration {
			start := time.Now()
			c.Write([]byte("x"))
			if _, err := s.Read(b); err != nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		remove := f.AddRule(Slow("a", "b", time.Second))
		near(t, "a slow link", exchange(), time.Second+time.Millisecond)
		remove()
		near(t, "the link", exchange(), time.Millisecond)

		remove = f.AddRule(Partition("a", "b"))
		time.AfterFunc(time.Second, remove)
		if _, err := f.c.Network(0, 0).Dial(context.Background(), "10.0.0.2:9"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the partition concerns c: %v", err)
		}
		// Sent again after 0.2, 0.6 and 1.4 s.
		d := exchange()
		if d < 1399*time.Millisecond || d > 1402*time.Millisecond {
			t.Errorf("a segment in a partition of 1 s took %v", d)
		}

		remove = f.AddRule(Partition("a", "b"))
		c.Write([]byte("x"))
		if _, err := c.Read(b); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("in a partition for ever: %v", err)
		}
		remove()
	})
}

func TestRuleReset(t *testing.T) {
	bubble(t, Options{Latency: time.Millisecond}, func(f *fixture) {
		c, s := f.pair(t)
		defer f.AddRule(func(x Segment) Verdict {
			if x.Kind == Data && x.Link == "a>b#1" && x.Destination.Port() == 80 && x.Size == 3 {
				return Verdict{Action: Reset}
			}
			return Verdict{}
		})()
		c.Write([]byte("ok"))
		time.Sleep(time.Nanosecond)
		c.Write([]byte("cut"))
		got, err := io.ReadAll(s)
		if string(got) != "okcut" && string(got) != "ok" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the sender's end: %v", err)
		}
	})
}

// run runs a world of its own in a bubble, as the simulator does.
func run(t *testing.T, f func(ctx context.Context, n *fixture, r *trace.Recorder) error) []trace.Event {
	t.Helper()
	var events []trace.Event
	o := simbubble.Options{Watchdog: time.Minute}
	err := simbubble.Run(context.Background(), o, func(ctx context.Context) error {
		r := trace.New()
		n := newFixture(t, Options{Latency: 100 * time.Microsecond, Jitter: 50 * time.Microsecond, Trace: r})
		defer n.Close()
		err := f(ctx, n, r)
		events = r.Events()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func sameEveryTime(t *testing.T, runs, atLeast int, f func(ctx context.Context, n *fixture, r *trace.Recorder) error) {
	t.Helper()
	first := run(t, f)
	if len(first) < atLeast {
		t.Fatalf("%d events, want at least %d", len(first), atLeast)
	}
	for range runs - 1 {
		if again := run(t, f); trace.Digest(again) != trace.Digest(first) && !shuffled {
			t.Fatal(trace.FirstDifference(first, again, 20))
		}
	}
}

// Twenty clients start at one instant; a proxy picks a server's answer by a
// counter that all requests share: any change of their order shows.
func TestDeterminism(t *testing.T) {
	sameEveryTime(t, 30, 20*10, func(_ context.Context, n *fixture, r *trace.Recorder) error {
		var turn atomic.Int64
		serve(t, listen(t, n.c, ":80"), func(line string) string { return fmt.Sprint(line, " ", turn.Add(1)) })
		var robin atomic.Int64
		serve(t, listen(t, n.b, ":80"), func(line string) string {
			c, err := n.b.Network(0, 0).Dial(context.Background(), "10.0.0.3:80")
			if err != nil {
				return err.Error()
			}
			defer c.Close()
			fmt.Fprintf(c, "%s via %d\n", line, robin.Add(1)%3)
			answer, _ := bufio.NewReader(c).ReadString('\n')
			return strings.TrimSpace(answer)
		})
		var wg sync.WaitGroup
		for i := range 20 {
			h, err := n.AddHost(fmt.Sprint("client-", i), netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}))
			if err != nil {
				return err
			}
			wg.Go(func() {
				c, err := h.Network(0, 0).Dial(context.Background(), "10.0.0.2:80")
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				in := bufio.NewReader(c)
				for j := range 10 {
					fmt.Fprintf(c, "%d\n", j)
					line, err := in.ReadString('\n')
					if err != nil {
						t.Error(err)
					}
					r.Add("answer", h.Name(), line)
				}
			})
		}
		wg.Wait()
		return nil
	})
}

// serve answers lines until the listener is closed.
func serve(t *testing.T, l net.Listener, answer func(string) string) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					if _, err := fmt.Fprintln(c, answer(in.Text())); err != nil {
						t.Error(err)
					}
				}
			}()
		}
	}()
}

func TestGRPC(t *testing.T) {
	sameEveryTime(t, 10, 50, func(ctx context.Context, n *fixture, r *trace.Recorder) error {
		service := health.NewServer()
		server := grpc.NewServer()
		healthpb.RegisterHealthServer(server, service)
		l := listen(t, n.b, ":9090")
		go server.Serve(l)
		defer server.Stop()
		conn, err := grpc.NewClient("passthrough:///10.0.0.2:9090",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(n.a.Network(0, 0).Dial))
		if err != nil {
			return err
		}
		defer conn.Close()
		client := healthpb.NewHealthClient(conn)
		watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		for i := range 20 {
			status := healthpb.HealthCheckResponse_ServingStatus(1 + i%2)
			service.SetServingStatus("", status)
			seen, err := watch.Recv()
			if err != nil {
				return err
			}
			r.Add("watch", "a", seen.Status.String())
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
						t.Error(err)
					}
					r.Add("check", "a", "")
				})
			}
			wg.Wait()
			time.Sleep(30 * time.Second)
		}
		return nil
	})
}

func TestHTTP(t *testing.T) {
	sameEveryTime(t, 5, 100, func(_ context.Context, n *fixture, r *trace.Recorder) error {
		var served atomic.Int64
		server := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				fmt.Fprintf(w, "%s %d", q.URL.Path, served.Add(1))
			}),
			ReadTimeout: time.Minute,
			IdleTimeout: 10 * time.Second,
		}
		go server.Serve(listen(t, n.b, ":80"))
		defer server.Close()
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				// Each has connections of its own, and begins at an instant of its own: who is
				// first among goroutines that wake together is the scheduler's to say.
				transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
					return n.a.Network(0, 0).Dial(ctx, addr)
				}}
				defer transport.CloseIdleConnections()
				client := &http.Client{Transport: transport, Timeout: time.Second}
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				for j := range 20 {
					resp, err := client.Get(fmt.Sprintf("http://10.0.0.2/%d/%d", i, j))
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					r.Add("http", fmt.Sprint(i), fmt.Sprint(string(body), err))
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
		return nil
	})
}
