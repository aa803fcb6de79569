//go:build netns && linux

package nft

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// lab is two network namespaces with a wire between them.
type lab struct{ pod, remote netns.NsHandle }

// on runs f on a thread of its own in a namespace, as a user: credentials of the file
// system are a thread's, and are those that a socket gets. The thread ends with f.
func on(ns netns.NsHandle, user, group int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := netns.Set(ns)
		if err == nil && user != 0 {
			if err = unix.Setfsgid(group); err == nil {
				err = unix.Setfsuid(user)
			}
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// newLab has servers on all ports of interest that tell how they were reached.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := newPods(t)
	serve(t, l.pod, "pod", 15001, 15053, 15006, 15008, 15020, 15021, 15090, 9080, 2222)
	serve(t, l.remote, "remote", 53, 9080, 3306, 15012)
	servePackets(t, l.pod, "pod", "127.0.0.1:15053", "[::1]:15053")
	servePackets(t, l.remote, "remote", service4+":53", "["+service6+"]:53", remote4+":53", service4+":3306", service4+":9080")
	return l
}

// newPods has the wire and the addresses.
func newPods(t *testing.T) *lab {
	t.Helper()
	l := &lab{namespace(t), namespace(t)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("network namespaces cannot be wired up (this needs root and the kernel's veth): %v", err)
		}
	}
	must(on(l.pod, 0, 0, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(l.remote)})
	}))
	must(on(l.pod, 0, 0, func() error { return configure(pod4+"/24", pod6+"/64", "", remote4, remote6) }))
	must(on(l.remote, 0, 0, func() error {
		return configure(remote4+"/24", remote6+"/64", service4+"/32 "+service6+"/128", "", "")
	}))
	return l
}

func namespace(t *testing.T) netns.NsHandle {
	t.Helper()
	var ns netns.NsHandle
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		ns, err = netns.New()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("no network namespace can be made (this needs root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// configure gives the namespace's eth0 and lo their addresses and a default route.
func configure(v4, v6, services, gateway4, gateway6 string) error {
	add := func(name string, addresses ...string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for _, text := range addresses {
			a, err := netlink.ParseAddr(text)
			if err != nil {
				return err
			}
			if strings.Contains(text, ":") {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(link, a); err != nil {
				return fmt.Errorf("%s on %s: %w", text, name, err)
			}
		}
		return netlink.LinkSetUp(link)
	}
	if err := add("lo", strings.Fields(services)...); err != nil {
		return err
	}
	if err := add("eth0", v4, v6); err != nil {
		return err
	}
	for _, gateway := range []string{gateway4, gateway6} {
		if gateway == "" {
			continue
		}
		if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)}); err != nil {
			return fmt.Errorf("default route by %s: %w", gateway, err)
		}
	}
	return nil
}

// serve tells each client where it was accepted, its address, and where it wanted to go.
func serve(t *testing.T, ns netns.NsHandle, name string, ports ...int) {
	t.Helper()
	for _, port := range ports {
		for _, network := range []string{"tcp4", "tcp6"} {
			err := on(ns, 0, 0, func() error {
				l, err := net.Listen(network, fmt.Sprintf(":%d", port))
				if err != nil {
					return err
				}
				t.Cleanup(func() { l.Close() })
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						original, redirected := netx.OriginalDst(c)
						if !redirected {
							original = netx.AddrPort(c.LocalAddr())
						}
						fmt.Fprintf(c, "%s:%d %s %s", name, port, original, netx.AddrPort(c.RemoteAddr()).Addr())
						c.Close()
					}
				}()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// servePackets answers each datagram with who took it.
func servePackets(t *testing.T, ns netns.NsHandle, name string, addresses ...string) {
	t.Helper()
	for _, at := range addresses {
		err := on(ns, 0, 0, func() error {
			p, err := netx.System{}.ListenPacket(context.Background(), at)
			if err != nil {
				return err
			}
			t.Cleanup(func() { p.Close() })
			go func() {
				var buffer [64]byte
				for {
					_, from, err := p.ReadFrom(buffer[:])
					if err != nil {
						return
					}
					port := netip.MustParseAddrPort(p.LocalAddr().String()).Port()
					_, _ = p.WriteTo(fmt.Appendf(nil, "%s:%d", name, port), from)
				}
			}()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// send sends the flow's datagram and returns what its server says. The socket takes answers
// from the address only that it has sent to.
func (l *lab) send(f *flow) (accepted string, err error) {
	err = on(l.pod, f.user, f.gid(), func() error {
		c, err := net.Dial("udp", f.to)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("?")); err != nil {
			return err
		}
		var buffer [64]byte
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return err
		}
		n, err := c.Read(buffer[:])
		accepted = string(buffer[:n])
		return err
	})
	return accepted, err
}

// connect opens the flow's connection and returns what its server says.
func (l *lab) connect(f *flow) (accepted, original, source string, err error) {
	ns := l.pod
	if f.user == 0 {
		ns = l.remote
	}
	err = on(ns, f.user, f.gid(), func() error {
		d := net.Dialer{Timeout: 3 * time.Second}
		if f.source != "" {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.source), 0))
		}
		c, err := d.DialContext(context.Background(), "tcp", f.to)
		if err != nil {
			return err
		}
		defer c.Close()
		answer, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(answer), &accepted, &original, &source)
		return err
	})
	return accepted, original, source, err
}

func TestKernelOnTheFlows(t *testing.T) {
	l := newLab(t)
	for i := range flowSets {
		set := &flowSets[i]
		rules := set.rules(t)
		// Each set replaces the one before it.
		err := on(l.pod, 0, 0, func() error {
			report, err := Program(rules)
			if err == nil && (report.By != ByNftables || report.IPv4 == 0 || report.IPv6 == 0) {
				err = fmt.Errorf("programmed %+v", report)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", set.name, err)
		}
		for _, f := range set.flows {
			if f.udp {
				if accepted, err := l.send(&f); err != nil || accepted != f.accepted || f.interpret(rules) != accepted {
					t.Errorf("%s: a datagram: %s: accepted by %s, %v; want %s, and the interpreter says %s", set.name, f.name, accepted, err, f.accepted, f.interpret(rules))
				}
				continue
			}
			accepted, original, source, err := l.connect(&f)
			if err != nil {
				t.Errorf("%s: %s: %v", set.name, f.name, err)
				continue
			}
			if accepted != f.accepted || original != f.to || source != f.from(netip.MustParseAddrPort(f.to).Addr()).String() {
				t.Errorf("%s: %s: accepted by %s, as from %s to %s; want %s, to %s", set.name, f.name, accepted, source, original, f.accepted, f.to)
			}
			if said := f.interpret(rules); said != accepted {
				t.Errorf("%s: %s: the interpreter says %s, the kernel does %s", set.name, f.name, said, accepted)
			}
		}
	}
}

func TestProgramReplacesAndRemoves(t *testing.T) {
	l := newLab(t)
	err := on(l.pod, 0, 0, func() error {
		for range 2 {
			if _, err := Program(flowSets[0].rules(t)); err != nil {
				return err
			}
		}
		if addresses := loopbackAddresses(t, l.pod); len(addresses) != 3 {
			t.Errorf("the loopback interface has %v", addresses)
		}
		if err := Remove(); err != nil {
			return err
		}
		return Remove() // nothing is there: no error
	})
	if err != nil {
		t.Fatal(err)
	}
	if addresses := loopbackAddresses(t, l.pod); len(addresses) != 2 {
		t.Errorf("the loopback interface has %v", addresses)
	}
	plain := flow{name: "without rules", to: pod4 + ":9080"}
	if accepted, _, _, err := l.connect(&plain); err != nil || accepted != "pod:9080" {
		t.Errorf("without rules: %s, %v", accepted, err)
	}
}

// loopbackAddresses are those of lo in a namespace.
func loopbackAddresses(t *testing.T, ns netns.NsHandle) (list []net.Addr) {
	t.Helper()
	err := on(ns, 0, 0, func() error {
		lo, err := net.InterfaceByName("lo")
		if err == nil {
			list, err = lo.Addrs()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What somebody else did to the table is found.
func TestVerifyFindsDifferences(t *testing.T) {
	l := newLab(t)
	rules := flowSets[0].rules(t)
	err := on(l.pod, 0, 0, func() error {
		if _, err := Program(rules); err != nil {
			return err
		}
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		table := tables(false)[0]
		if err := verify(conn, table, rules.IPv4); err != nil {
			return err
		}
		other := flowSets[1].rules(t)
		if err := verify(conn, table, other.IPv4); err == nil || !strings.Contains(err.Error(), "rules, not") {
			return fmt.Errorf("verify says %v of another number of rules", err)
		}
		other = flowSets[len(flowSets)-1].rules(t)
		if err := verify(conn, table, other.IPv4); err == nil || !strings.Contains(err.Error(), "differs") {
			return fmt.Errorf("verify says %v of another user", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProgramNeedsThePrivilege(t *testing.T) {
	l := newLab(t)
	err := on(l.pod, 0, 0, func() error {
		var none [2]unix.CapUserData
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		_, err := Program(flowSets[0].rules(t))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "NET_ADMIN") {
		t.Errorf("without capabilities: %v", err)
	}
}

// A kernel that knows no nftables: rules come by iptables-restore, and steer the same
// flows. Without that program the pod is told what is missing.
func TestFallbackToIptables(t *testing.T) {
	legacy, err := exec.LookPath("iptables-legacy-restore")
	if err != nil {
		t.Fatalf("the iptables package is needed: %v", err)
	}
	dir := t.TempDir()
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, part := range []string{"-restore", "-save"} {
			if err := os.Symlink(filepath.Join(filepath.Dir(legacy), tool+"-legacy"+part), filepath.Join(dir, tool+part)); err != nil {
				t.Fatal(err)
			}
		}
	}
	none := fmt.Errorf("%w (%w)", errMissing, unix.EPROTONOSUPPORT)
	t.Setenv("PATH", t.TempDir())
	if _, err := fallback(flowSets[0].rules(t), true, none); err == nil || !strings.Contains(err.Error(), "the kernel has no nftables") || !strings.Contains(err.Error(), "there is no iptables-restore in this image") {
		t.Errorf("without iptables: %v", err)
	}
	t.Setenv("PATH", dir)
	l := newLab(t)
	for i := range flowSets {
		set := &flowSets[i]
		err := on(l.pod, 0, 0, func() error {
			report, err := fallback(set.rules(t), true, none)
			if err == nil && (report.By != ByIptables || report.IPv4 == 0 || report.IPv6 == 0) {
				err = fmt.Errorf("programmed %+v", report)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", set.name, err)
		}
		for _, f := range set.flows {
			if f.udp {
				if accepted, err := l.send(&f); err != nil || accepted != f.accepted {
					t.Errorf("%s: a datagram: %s: accepted by %s, %v; want %s", set.name, f.name, accepted, err, f.accepted)
				}
				continue
			}
			accepted, original, _, err := l.connect(&f)
			if err != nil || accepted != f.accepted || original != f.to {
				t.Errorf("%s: %s: accepted by %s, to %s, %v; want %s, to %s", set.name, f.name, accepted, original, err, f.accepted, f.to)
			}
		}
	}
}
