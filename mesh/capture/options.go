package capture

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Ports is a set of ports: all of them, or those that are listed (none, if none is).
type Ports struct {
	All  bool
	List []uint16
}

// Ranges is a set of addresses: all of them, or those in the listed prefixes.
type Ranges struct {
	All  bool
	List []netip.Prefix
}

// Options say what a pod's rules capture. The zero value captures nothing and is
// not valid; Defaults is what a sidecar has.
type Options struct {
	OutboundPort uint16 // the proxy's listener for outbound connections
	InboundPort  uint16 // the proxy's listener for inbound connections
	TunnelPort   uint16 // inbound tunnels (HBONE), never captured
	ProxyUID     int    // connections of this user ...
	ProxyGID     int    // ... or group are the proxy's own

	InboundPorts         Ports    // captured on the way in
	ExcludeInboundPorts  []uint16 // except these, where InboundPorts is all
	IncludeOutboundPorts []uint16 // captured on the way out, to whatever address
	ExcludeOutboundPorts []uint16 // never captured on the way out
	IncludeOutbound      Ranges   // destinations that are captured on the way out
	ExcludeOutbound      []netip.Prefix
	ExcludeInterfaces    []string // neither way

	// RedirectDNS has the proxy answer what the pod's processes ask the name servers of
	// its resolv.conf, by UDP and TCP, at DNSPort. Which these are is only known in the pod:
	// DNSServers is no argument.
	RedirectDNS bool
	DNSServers  []netip.Addr
}

// DNSPort is where the proxy answers DNS queries, on the loopback addresses.
const DNSPort = 15053

// Defaults is what Istio's injector asks for: everything in and out, except the
// ports where the proxy itself answers for health and metrics.
func Defaults() Options {
	return Options{
		OutboundPort: 15001, InboundPort: 15006, TunnelPort: 15008, ProxyUID: 1337, ProxyGID: 1337,
		InboundPorts:        Ports{All: true},
		ExcludeInboundPorts: []uint16{15090, 15021, 15020},
		IncludeOutbound:     Ranges{All: true},
	}
}

// validate reports everything that is wrong at once.
func (o Options) validate() error {
	var errs []error
	for _, p := range []struct {
		name string
		port uint16
	}{{"outbound port", o.OutboundPort}, {"inbound port", o.InboundPort}, {"tunnel port", o.TunnelPort}} {
		if p.port == 0 {
			errs = append(errs, fmt.Errorf("%s: must be between 1 and 65535", p.name))
		}
	}
	if o.OutboundPort == o.InboundPort && o.InboundPort != 0 {
		errs = append(errs, fmt.Errorf("outbound and inbound port are both %d", o.InboundPort))
	}
	if o.ProxyUID < 0 || o.ProxyGID < 0 {
		errs = append(errs, fmt.Errorf("proxy uid %d, gid %d: must not be negative", o.ProxyUID, o.ProxyGID))
	}
	return errors.Join(errs...)
}

// flags binds istio-iptables' arguments, short and long, to o. Its defaults differ
// from Defaults: a list that is not given is empty.
func (o *Options) flags() (*flag.FlagSet, *string) {
	fs := flag.NewFlagSet("capture", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	mode := "REDIRECT"
	bind := func(short, long string, set func(string) error) {
		fs.Func(short, "", set)
		fs.Func(long, "", set)
	}
	port := func(to *uint16) func(string) error {
		return func(s string) (err error) { *to, err = ParsePort(s); return err }
	}
	ports := func(to *[]uint16) func(string) error {
		return func(s string) (err error) { *to, err = ParsePortList(s); return err }
	}
	id := func(to *int) func(string) error {
		return func(s string) (err error) { *to, err = strconv.Atoi(s); return err }
	}
	bind("p", "envoy-port", port(&o.OutboundPort))
	bind("z", "inbound-capture-port", port(&o.InboundPort))
	bind("e", "inbound-tunnel-port", port(&o.TunnelPort))
	bind("u", "proxy-uid", id(&o.ProxyUID))
	bind("g", "proxy-gid", id(&o.ProxyGID))
	bind("m", "istio-inbound-interception-mode", func(s string) error { mode = s; return nil })
	bind("b", "istio-inbound-ports", func(s string) (err error) { o.InboundPorts, err = ParsePorts(s); return err })
	bind("d", "istio-local-exclude-ports", ports(&o.ExcludeInboundPorts))
	bind("q", "istio-outbound-ports", ports(&o.IncludeOutboundPorts))
	bind("o", "istio-local-outbound-ports-exclude", ports(&o.ExcludeOutboundPorts))
	bind("i", "istio-service-cidr", func(s string) (err error) { o.IncludeOutbound, err = ParseRanges(s); return err })
	bind("x", "istio-service-exclude-cidr", func(s string) (err error) { o.ExcludeOutbound, err = ParsePrefixes(s); return err })
	fs.BoolVar(&o.RedirectDNS, "redirect-dns", false, "")
	bind("c", "istio-exclude-interfaces", func(s string) error { o.ExcludeInterfaces = split(s); return nil })
	return fs, &mode
}

// ParseArgs reads the arguments of istio-iptables, as the injector gives them to
// the init container: -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x "" -b * -d
// 15090,15021,15020. A list that is not given is empty. Other arguments of
// istio-iptables, and the interception mode TPROXY, are refused.
func ParseArgs(args []string) (Options, error) {
	o := Options{OutboundPort: 15001, InboundPort: 15006, TunnelPort: 15008, ProxyUID: 1337, ProxyGID: -1}
	fs, mode := o.flags()
	if err := fs.Parse(args); err != nil {
		return Options{}, fmt.Errorf("capture arguments: %w", err)
	}
	if fs.NArg() > 0 {
		return Options{}, fmt.Errorf("capture arguments: unexpected %q", fs.Arg(0))
	}
	if *mode != "REDIRECT" {
		return Options{}, fmt.Errorf("capture arguments: interception mode %q is not supported, only REDIRECT", *mode)
	}
	if o.ProxyGID < 0 {
		o.ProxyGID = o.ProxyUID
	}
	return o, o.validate()
}

// Args makes the arguments that ParseArgs reads.
func (o Options) Args() []string {
	args := []string{
		"-p", strconv.Itoa(int(o.OutboundPort)), "-z", strconv.Itoa(int(o.InboundPort)),
		"-u", strconv.Itoa(o.ProxyUID), "-m", "REDIRECT",
		"-i", o.IncludeOutbound.String(), "-x", joinPrefixes(o.ExcludeOutbound),
		"-b", o.InboundPorts.String(), "-d", joinPorts(o.ExcludeInboundPorts),
	}
	if o.TunnelPort != 15008 {
		args = append(args, "-e", strconv.Itoa(int(o.TunnelPort)))
	}
	if o.ProxyGID != o.ProxyUID {
		args = append(args, "-g", strconv.Itoa(o.ProxyGID))
	}
	if len(o.IncludeOutboundPorts) > 0 {
		args = append(args, "-q", joinPorts(o.IncludeOutboundPorts))
	}
	if len(o.ExcludeOutboundPorts) > 0 {
		args = append(args, "-o", joinPorts(o.ExcludeOutboundPorts))
	}
	if len(o.ExcludeInterfaces) > 0 {
		args = append(args, "-c", strings.Join(o.ExcludeInterfaces, ","))
	}
	if o.RedirectDNS {
		args = append(args, "--redirect-dns")
	}
	return args
}

// ParsePort reads a port between 1 and 65535.
func ParsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q: must be between 1 and 65535", s)
	}
	return uint16(n), nil
}

// ParsePortList reads ports with commas between them; the empty string is none.
func ParsePortList(s string) ([]uint16, error) {
	var list []uint16
	for _, field := range split(s) {
		p, err := ParsePort(field)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list, nil
}

// ParsePorts is ParsePortList with "*" for all.
func ParsePorts(s string) (Ports, error) {
	if strings.TrimSpace(s) == "*" {
		return Ports{All: true}, nil
	}
	list, err := ParsePortList(s)
	return Ports{List: list}, err
}

// ParsePrefixes reads prefixes or single addresses with commas between them.
func ParsePrefixes(s string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, field := range split(s) {
		p, err := netip.ParsePrefix(field)
		if err != nil {
			a, addrErr := netip.ParseAddr(field)
			if addrErr != nil {
				return nil, fmt.Errorf("address range %q: want an address or address/bits", field)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return nil, fmt.Errorf("address range %q: want a plain IPv4 or IPv6 range", field)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

// ParseRanges is ParsePrefixes with "*" for all.
func ParseRanges(s string) (Ranges, error) {
	if strings.TrimSpace(s) == "*" {
		return Ranges{All: true}, nil
	}
	list, err := ParsePrefixes(s)
	return Ranges{List: list}, err
}

// String is what ParsePorts reads.
func (p Ports) String() string {
	if p.All {
		return "*"
	}
	return joinPorts(p.List)
}

// String is what ParseRanges reads.
func (r Ranges) String() string {
	if r.All {
		return "*"
	}
	return joinPrefixes(r.List)
}

func split(s string) []string {
	var fields []string
	for field := range strings.SplitSeq(s, ",") {
		if field = strings.TrimSpace(field); field != "" {
			fields = append(fields, field)
		}
	}
	return fields
}

func joinPorts(ports []uint16) string {
	fields := make([]string, len(ports))
	for i, p := range ports {
		fields[i] = strconv.Itoa(int(p))
	}
	return strings.Join(fields, ",")
}

func joinPrefixes(prefixes []netip.Prefix) string {
	fields := make([]string, len(prefixes))
	for i, p := range prefixes {
		fields[i] = p.String()
	}
	return strings.Join(fields, ",")
}
