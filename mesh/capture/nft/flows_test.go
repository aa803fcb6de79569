package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

// Addresses of the two ends: a pod with rules, and a host without, which has the
// addresses of Services too.
const (
	pod4, pod6         = "10.77.0.7", "fd77::7"
	remote4, remote6   = "10.77.0.9", "fd77::9"
	service4, service6 = "10.96.0.3", "fd96::3"
)

// Users in the pod.
const (
	app   = 1000
	proxy = 1337
)

// flow is a connection that somebody opens, and who accepts it: "pod:15006". The
// table is asked of the interpreter here, and of the kernel where there are network
// namespaces (build tag netns).
type flow struct {
	name     string
	user     int // 0: it comes from the remote host
	group    int // where it is not the user
	source   string
	to       string
	accepted string
	udp      bool
}

// flowSet are flows under one set of rules.
type flowSet struct {
	name  string
	args  []string // beside the defaults
	flows []flow
}

var flowSets = []flowSet{
	{"defaults", nil, []flow{
		// Remote to local: the inbound listener, then from 127.0.0.6 the application.
		{"remote to the application", 0, 0, "", pod4 + ":9080", "pod:15006", false},
		{"inbound listener to the application", proxy, 0, "127.0.0.6", pod4 + ":9080", "pod:9080", false},
		// Local to remote: the outbound listener, then the endpoint.
		{"application to a service", app, 0, "", service4 + ":9080", "pod:15001", false},
		{"outbound listener to the endpoint", proxy, 0, "", remote4 + ":9080", "remote:9080", false},
		{"application to a remote address", app, 0, "", remote4 + ":9080", "pod:15001", false},
		// Prometheus and kubelet to what the proxy itself answers.
		{"Prometheus, merged metrics", 0, 0, "", pod4 + ":15020", "pod:15020", false},
		{"Prometheus, metrics of the proxy", 0, 0, "", pod4 + ":15090", "pod:15090", false},
		{"kubelet, readiness", 0, 0, "", pod4 + ":15021", "pod:15021", false},
		{"a tunnel", 0, 0, "", pod4 + ":15008", "pod:15008", false},
		// A pod to itself through its Service: out by 15001, in by 15006, then the application.
		{"application to its own service", app, 0, "", service4 + ":9080", "pod:15001", false},
		{"outbound listener to its own pod", proxy, 0, "", pod4 + ":9080", "pod:15006", false},
		{"the same by the group alone", app, proxy, "", pod4 + ":9080", "pod:9080", false},
		{"inbound listener to the own application", proxy, 0, "127.0.0.6", pod4 + ":9080", "pod:9080", false},
		{"application to its own address", app, 0, "", pod4 + ":9080", "pod:9080", false},
		{"application to localhost", app, 0, "", "127.0.0.1:9080", "pod:9080", false},
		{"tunnel to its own pod", proxy, 0, "", pod4 + ":15008", "pod:15008", false},
		// The proxy's own connections.
		{"proxy to its admin port", proxy, 0, "", "127.0.0.1:15020", "pod:15020", false},
		{"proxy to the control plane", proxy, 0, "", service4 + ":15012", "remote:15012", false},
		{"a process of the proxy's group", app, proxy, "", remote4 + ":9080", "remote:9080", false},
		{"IPv6: remote to the application", 0, 0, "", "[" + pod6 + "]:9080", "pod:15006", false},
		{"IPv6: inbound listener to the application", proxy, 0, "::6", "[" + pod6 + "]:9080", "pod:9080", false},
		{"IPv6: application to a service", app, 0, "", "[" + service6 + "]:9080", "pod:15001", false},
		{"IPv6: proxy to the endpoint", proxy, 0, "", "[" + remote6 + "]:9080", "remote:9080", false},
		{"IPv6: Prometheus", 0, 0, "", "[" + pod6 + "]:15090", "pod:15090", false},
		{"IPv6: outbound listener to its own pod", proxy, 0, "", "[" + pod6 + "]:9080", "pod:15006", false},
		{"IPv6: application to localhost", app, 0, "", "[::1]:9080", "pod:9080", false},
		{"IPv6: proxy to the control plane", proxy, 0, "", "[" + service6 + "]:15012", "remote:15012", false},
	}},
	{"excluded ports", []string{"-o", "3306", "-d", "15090,15021,15020,2222"}, []flow{
		{"excluded on the way out", app, 0, "", remote4 + ":3306", "remote:3306", false},
		{"another port", app, 0, "", remote4 + ":9080", "pod:15001", false},
		{"excluded on the way in", 0, 0, "", pod4 + ":2222", "pod:2222", false},
		{"another port in", 0, 0, "", pod4 + ":9080", "pod:15006", false},
	}},
	{"included inbound ports", []string{"-b", "9080"}, []flow{
		{"included", 0, 0, "", pod4 + ":9080", "pod:15006", false},
		{"not included", 0, 0, "", pod4 + ":2222", "pod:2222", false},
	}},
	{"no inbound capture", []string{"-b", ""}, []flow{{"in", 0, 0, "", pod4 + ":9080", "pod:9080", false}}},
	{"excluded ranges", []string{"-x", "10.96.0.0/16,fd96::/64"}, []flow{
		{"inside", app, 0, "", service4 + ":9080", "remote:9080", false},
		{"outside", app, 0, "", remote4 + ":9080", "pod:15001", false},
		{"IPv6: inside", app, 0, "", "[" + service6 + "]:9080", "remote:9080", false},
		{"IPv6: outside", app, 0, "", "[" + remote6 + "]:9080", "pod:15001", false},
	}},
	{"included ranges and ports", []string{"-i", "10.96.0.0/13", "-q", "3306"}, []flow{
		{"inside", app, 0, "", service4 + ":9080", "pod:15001", false},
		{"outside", app, 0, "", remote4 + ":9080", "remote:9080", false},
		{"included port", app, 0, "", remote4 + ":3306", "pod:15001", false},
		{"IPv6 has no range", app, 0, "", "[" + service6 + "]:9080", "remote:9080", false},
	}},
	{"excluded interface", []string{"-c", "eth0"}, []flow{
		{"in", 0, 0, "", pod4 + ":9080", "pod:9080", false},
		{"out", app, 0, "", service4 + ":9080", "remote:9080", false},
	}},
	{"DNS", []string{"--redirect-dns", "-o", "3306"}, dnsFlows()},
	{"another user and group", []string{"-u", "4321", "-g", "4322"}, []flow{
		{"user", 4321, 0, "", service4 + ":9080", "remote:9080", false},
		{"group", app, 4322, "", service4 + ":9080", "remote:9080", false},
		{"the usual one is nobody", proxy, 0, "", service4 + ":9080", "pod:15001", false},
	}},
}

// dnsFlows are queries, by TCP and UDP, and what is none.
func dnsFlows() []flow {
	var list []flow
	for _, udp := range []bool{false, true} {
		list = append(list,
			flow{"application to its name server", app, 0, "", service4 + ":53", "pod:15053", udp},
			flow{"proxy to the name server", proxy, 0, "", service4 + ":53", "remote:53", udp},
			flow{"a process of the proxy's group", app, proxy, "", service4 + ":53", "remote:53", udp},
			flow{"IPv6: application to its name server", app, 0, "", "[" + service6 + "]:53", "pod:15053", udp},
			flow{"IPv6: proxy to the name server", proxy, 0, "", "[" + service6 + "]:53", "remote:53", udp},
			flow{"excluded port", app, 0, "", service4 + ":3306", "remote:3306", udp},
		)
	}
	return append(list,
		flow{"application to another name server", app, 0, "", remote4 + ":53", "remote:53", true},
		flow{"by TCP it is any connection", app, 0, "", remote4 + ":53", "pod:15001", false},
		flow{"application by TCP to a service", app, 0, "", service4 + ":9080", "pod:15001", false},
		flow{"application by UDP to a service", app, 0, "", service4 + ":9080", "remote:9080", true},
		flow{"application to itself", app, 0, "", pod4 + ":9080", "pod:9080", false},
	)
}

func (s *flowSet) rules(t *testing.T) *capture.Rules {
	t.Helper()
	o, err := capture.ParseArgs(append(capture.Defaults().Args(), s.args...))
	if err != nil {
		t.Fatal(err)
	}
	if o.RedirectDNS {
		o.DNSServers = []netip.Addr{netip.MustParseAddr(service4), netip.MustParseAddr(service6)}
	}
	rules, err := capture.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// interpret asks the interpreter who accepts.
func (f *flow) interpret(rules *capture.Rules) string {
	to := netip.MustParseAddrPort(f.to)
	p := capture.Packet{UDP: f.udp, UID: f.user, GID: f.gid(), Destination: to}
	local := to.Addr().IsLoopback() || f.inPod(to.Addr())
	p.Loopback = f.user != 0 && local
	p.Source = netip.AddrPortFrom(f.from(to.Addr()), 40000)
	decide := rules.Output
	if f.user == 0 {
		decide = rules.Prerouting
	}
	switch v := decide(p); {
	case v.Redirect != 0:
		return fmt.Sprintf("pod:%d", v.Redirect)
	case local:
		return fmt.Sprintf("pod:%d", to.Port())
	default:
		return fmt.Sprintf("remote:%d", to.Port())
	}
}

func (f *flow) inPod(a netip.Addr) bool { return a.String() == pod4 || a.String() == pod6 }

func (f *flow) gid() int {
	if f.group != 0 {
		return f.group
	}
	return f.user
}

// from is the source address that the kernel chooses where the flow names none.
func (f *flow) from(to netip.Addr) netip.Addr {
	ends := [2]string{pod4, pod6}
	if f.user == 0 {
		ends = [2]string{remote4, remote6}
	}
	switch {
	case f.source != "":
		return netip.MustParseAddr(f.source)
	case to.IsLoopback():
		return to
	case to.Is4():
		return netip.MustParseAddr(ends[0])
	}
	return netip.MustParseAddr(ends[1])
}

func TestInterpreterOnTheFlows(t *testing.T) {
	for i := range flowSets {
		rules := flowSets[i].rules(t)
		for _, f := range flowSets[i].flows {
			if got := f.interpret(rules); got != f.accepted {
				t.Errorf("%s: %s: accepted by %s, want %s", flowSets[i].name, f.name, got, f.accepted)
			}
		}
	}
}
