package capture

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// pod is the address of the pod whose rules are tested; remote is another pod's.
const (
	pod      = "10.0.0.7"
	remote   = "10.0.0.9"
	service  = "10.96.0.3"
	pod6     = "fd00::7"
	remote6  = "fd00::9"
	service6 = "fd00:96::3"
)

const app, proxy = 1000, 1337

func out(user int, source, destination string) Packet {
	p := packet(source, destination)
	p.UID, p.GID = user, user
	d := p.Destination.Addr().String()
	p.Loopback = d == pod || d == pod6 || p.Destination.Addr().IsLoopback()
	return p
}

func packet(source, destination string) Packet {
	return Packet{Source: netip.AddrPortFrom(netip.MustParseAddr(source), 40000), Destination: netip.MustParseAddrPort(destination)}
}

type flow struct {
	name     string
	incoming bool
	packet   Packet
	want     uint16
	rule     string // part of the rule that decides
}

func check(t *testing.T, o Options, flows []flow) {
	t.Helper()
	rules, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		decide := rules.Output
		if f.incoming {
			decide = rules.Prerouting
		}
		got := decide(f.packet)
		if got.Redirect != f.want || !strings.Contains(got.Rule, f.rule) {
			t.Errorf("%s: got %d by %q, want %d by %q", f.name, got.Redirect, got.Rule, f.want, f.rule)
		}
	}
}

func TestFlowsOfASidecar(t *testing.T) {
	check(t, Defaults(), []flow{
		{"remote to local: arrives", true, packet(remote, pod+":9080"), 15006, "-j ISTIO_IN_REDIRECT"},
		{"remote to local: proxy to app", false, out(proxy, "127.0.0.6", pod+":9080"), 0, "-s 127.0.0.6/32 -o lo"},
		{"local to remote: app to service", false, out(app, pod, service+":9080"), 15001, "-A ISTIO_OUTPUT -p tcp -j ISTIO_REDIRECT"},
		{"local to remote: proxy to endpoint", false, out(proxy, pod, remote+":9080"), 0, "-m owner --uid-owner 1337 -j RETURN"},
		{"metrics of the agent", true, packet(remote, pod+":15020"), 0, "--dport 15020 -j RETURN"},
		{"metrics of the proxy", true, packet(remote, pod+":15090"), 0, "--dport 15090 -j RETURN"},
		{"health", true, packet(remote, pod+":15021"), 0, "--dport 15021 -j RETURN"},
		{"tunnel", true, packet(remote, pod+":15008"), 0, "--dport 15008 -j RETURN"},
		{"app to itself by its service: app", false, out(app, pod, service+":9080"), 15001, "ISTIO_REDIRECT"},
		{"app to itself by its service: proxy", false, out(proxy, pod, pod+":9080"), 15006, "! -d 127.0.0.1/32 -o lo"},
		{"app to itself by its service: inbound", false, out(proxy, "127.0.0.6", pod+":9080"), 0, "127.0.0.6"},
		{"app to its own address", false, out(app, pod, pod+":9080"), 0, "! --uid-owner 1337 -j RETURN"},
		{"app to localhost", false, out(app, "127.0.0.1", "127.0.0.1:9080"), 0, "! --uid-owner 1337 -j RETURN"},
		{"proxy to localhost", false, out(proxy, "127.0.0.1", "127.0.0.1:15000"), 0, "--uid-owner 1337 -j RETURN"},
		{"proxy to the control plane", false, out(proxy, pod, service+":15012"), 0, "--uid-owner 1337 -j RETURN"},
		{"proxy's tunnel to its own pod", false, out(proxy, pod, pod+":15008"), 0, "--uid-owner 1337 -j RETURN"},
		{"proxy's group is enough", false, Packet{UID: 0, GID: proxy, Source: out(0, pod, "1.2.3.4:5").Source,
			Destination: netip.MustParseAddrPort("1.2.3.4:5")}, 0, "--gid-owner 1337 -j RETURN"},
		{"IPv6: arrives", true, packet(remote6, "["+pod6+"]:9080"), 15006, "ISTIO_IN_REDIRECT"},
		{"IPv6: app to service", false, out(app, pod6, "["+service6+"]:80"), 15001, "ISTIO_REDIRECT"},
		{"IPv6: proxy to app", false, out(proxy, "::6", "["+pod6+"]:9080"), 0, "-s ::6/128"},
		{"IPv6: proxy to itself", false, out(proxy, pod6, "["+pod6+"]:9080"), 15006, "! -d ::1/128"},
		{"IPv6: proxy to localhost", false, out(proxy, "::1", "[::1]:15000"), 0, "--uid-owner 1337"},
		{"IPv4 in IPv6 is IPv4", false, out(proxy, "::ffff:127.0.0.6", "[::ffff:10.0.0.7]:9080"), 0, "--uid-owner 1337"},
	})
}

func TestExclusions(t *testing.T) {
	with := func(args ...string) Options {
		o, err := ParseArgs(append(Defaults().Args(), args...))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	appTo := func(destination string) Packet { return out(app, pod, destination) }
	check(t, with("-o", "3306,27017"), []flow{
		{"excluded outbound port", false, appTo("1.2.3.4:3306"), 0, "--dport 3306 -j RETURN"},
		{"it comes before what is the proxy's", false, out(proxy, pod, pod+":3306"), 0, "--dport 3306 -j RETURN"},
		{"another outbound port", false, appTo("1.2.3.4:3307"), 15001, ""},
	})
	check(t, with("-d", "22"), []flow{
		{"excluded inbound port", true, packet(remote, pod+":22"), 0, "--dport 22 -j RETURN"},
		{"the list replaces the default", true, packet(remote, pod+":15090"), 15006, ""},
	})
	check(t, with("-b", "80,81"), []flow{
		{"included inbound port", true, packet(remote, pod+":81"), 15006, "--dport 81 -j ISTIO_IN_REDIRECT"},
		{"not included", true, packet(remote, pod+":82"), 0, "-P PREROUTING ACCEPT"},
	})
	check(t, with("-b", ""), []flow{{"no inbound capture", true, packet(remote, pod+":80"), 0, "-P PREROUTING ACCEPT"}})
	check(t, with("-x", "10.96.0.0/16,fd00:96::/64"), []flow{
		{"excluded range", false, appTo(service + ":80"), 0, "-d 10.96.0.0/16 -p tcp -j RETURN"},
		{"outside the excluded range", false, appTo(remote + ":80"), 15001, ""},
		{"excluded IPv6 range", false, out(app, pod6, "["+service6+"]:80"), 0, "-d fd00:96::/64"},
	})
	check(t, with("-i", "10.96.0.0/16", "-q", "8080"), []flow{
		{"included range", false, appTo(service + ":80"), 15001, "-d 10.96.0.0/16 -p tcp -j ISTIO_REDIRECT"},
		{"not included range", false, appTo("1.2.3.4:80"), 0, "-P OUTPUT ACCEPT"},
		{"included port", false, appTo("1.2.3.4:8080"), 15001, "--dport 8080 -j ISTIO_REDIRECT"},
		{"IPv6 has no range", false, out(app, pod6, "["+service6+"]:80"), 0, "-P OUTPUT ACCEPT"},
	})
	check(t, with("-i", "127.0.0.0/8"), []flow{
		{"loopback that was asked for", false, out(app, "127.0.0.1", "127.0.0.2:80"), 15001, "127.0.0.0/8"},
		{"but never localhost", false, out(app, "127.0.0.1", "127.0.0.1:80"), 0, "-d 127.0.0.1/32 -p tcp -j RETURN"},
	})
	net1 := func(p Packet) Packet { p.Interface = "net1"; return p }
	check(t, with("-c", "net1,net2"), []flow{
		{"excluded interface, in", true, net1(packet(remote, pod+":80")), 0, "-A PREROUTING -i net1"},
		{"excluded interface, out", false, net1(appTo("1.2.3.4:80")), 0, "-A OUTPUT -o net1"},
		{"another interface", true, packet(remote, pod+":80"), 15006, ""},
	})
	check(t, with("-p", "1", "-z", "2", "-u", "7", "-g", "8", "-e", "9"), []flow{
		{"outbound port", false, appTo("1.2.3.4:80"), 1, ""},
		{"inbound port", true, packet(remote, pod+":80"), 2, ""},
		{"user", false, out(7, pod, "1.2.3.4:80"), 0, "--uid-owner 7"},
		{"group", false, out(8, pod, "1.2.3.4:80"), 0, "--gid-owner 8"},
		{"tunnel", true, packet(remote, pod+":9"), 0, "--dport 9"},
	})
}

func TestArgs(t *testing.T) {
	if got, want := strings.Join(Defaults().Args(), " "), "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020"; got != want {
		t.Errorf("default arguments are %q, want %q", got, want)
	}
	for _, args := range [][]string{
		Defaults().Args(),
		{"-i", "10.0.0.0/8,fd00::/8", "-x", "10.1.2.3", "-b", "80", "-d", "", "-e", "1", "-g", "2", "-q", "3", "-o", "4,5", "-c", "net1"},
		{"--envoy-port=15001", "--inbound-capture-port", "15006", "--istio-inbound-ports=*"},
	} {
		o, err := ParseArgs(args)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		again, err := ParseArgs(o.Args())
		if err != nil || !reflect.DeepEqual(o, again) {
			t.Errorf("%q: %+v becomes %+v, %v", args, o, again, err)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"-m TPROXY", `"TPROXY" is not supported`},
		{"-p 0", "between 1 and 65535"},
		{"-b 80,x", `port "x"`},
		{"-x 10.0.0.0/40", "10.0.0.0/40"},
		{"--kube-virt-interfaces eth1", "kube-virt-interfaces"},
		{"extra", `"extra"`},
		{"-p 15006", "both 15006"},
		{"-u -5", "negative"},
	} {
		if _, err := ParseArgs(strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.args, err, c.want)
		}
	}
}

func TestNotation(t *testing.T) {
	o := Defaults()
	o.ExcludeOutboundPorts = []uint16{25}
	rules, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ipv4, _, _ := strings.Cut(rules.String(), "# IPv6")
	const want = `# IPv4
*nat
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:ISTIO_INBOUND -
:ISTIO_OUTPUT -
:ISTIO_REDIRECT -
:ISTIO_IN_REDIRECT -
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -p tcp -m tcp --dport 25 -j RETURN
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -p tcp -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -p tcp -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -p tcp -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -p tcp -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -p tcp -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -p tcp -j RETURN
-A ISTIO_OUTPUT -p tcp -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
COMMIT
`
	if ipv4 != want {
		t.Errorf("rules are\n%s\nwant\n%s", ipv4, want)
	}
}

func TestDNS(t *testing.T) {
	query := func(user int, to string, udp bool) Packet {
		p := out(user, pod, to)
		p.UDP = udp
		return p
	}
	o := Defaults()
	o.RedirectDNS = true
	o.DNSServers = NameServers([]byte("search a b\nnameserver 10.96.0.10\n# nameserver 1.1.1.1\nnameserver\nnameserver ten\noptions ndots:5\n nameserver 127.0.0.53\nnameserver 10.96.0.10"))
	o.ExcludeInterfaces = []string{"net1"}
	net1 := query(app, "10.96.0.10:53", true)
	net1.Interface = "net1"
	check(t, o, []flow{
		{"by UDP", false, query(app, "10.96.0.10:53", true), DNSPort, "-A ISTIO_OUTPUT_DNS -d 10.96.0.10/32 -p udp -m udp --dport 53"},
		{"by TCP", false, query(app, "10.96.0.10:53", false), DNSPort, "-A ISTIO_OUTPUT_DNS -d 10.96.0.10/32 -p tcp"},
		{"the proxy's own", false, query(proxy, "10.96.0.10:53", true), 0, "-p udp -m owner --uid-owner 1337"},
		{"the proxy's own by TCP", false, query(proxy, "10.96.0.10:53", false), 0, "-p tcp -m owner --uid-owner 1337"},
		{"a name server of the pod", false, query(app, "127.0.0.53:53", true), DNSPort, "127.0.0.53"},
		{"a name server of the pod by TCP", false, query(app, "127.0.0.53:53", false), DNSPort, "127.0.0.53"},
		{"the proxy's own to a name server of the pod", false, query(proxy, "127.0.0.53:53", false), 0, "-o lo -p tcp -m tcp --dport 53 -m owner --uid-owner 1337"},
		{"another name server", false, query(app, "8.8.8.8:53", true), 0, "-P OUTPUT ACCEPT"},
		{"other datagrams", false, query(app, "10.96.0.10:54", true), 0, "-P OUTPUT ACCEPT"},
		{"another interface", false, net1, 0, "-A OUTPUT -o net1 -p udp"},
		{"what comes in", true, query(0, pod+":53", true), 0, "-P PREROUTING ACCEPT"},
		{"the application to itself", false, query(app, pod+":9080", false), 0, "! --dport 53"},
	})
	o.DNSServers = nil
	rules, err := New(o)
	if err != nil || strings.Contains(rules.String(), OutputDNS) {
		t.Errorf("without name servers the rules are %v, %v", rules, err)
	}
	if again, err := ParseArgs(o.Args()); err != nil || !again.RedirectDNS {
		t.Errorf("%v, %v", again, err)
	}
}
