package nft

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

// hasIPv6 tells whether any interface has an IPv6 address. A kernel without IPv6 has
// no such file.
func hasIPv6() bool {
	interfaces, err := os.ReadFile("/proc/thread-self/net/if_inet6")
	return err == nil && len(interfaces) > 0
}

// tables are ours, by family.
func tables(ipv6 bool) []*nftables.Table {
	all := []*nftables.Table{{Name: Table, Family: nftables.TableFamilyIPv4}}
	if ipv6 {
		all = append(all, &nftables.Table{Name: Table, Family: nftables.TableFamilyIPv6})
	}
	return all
}

func chainsOf(rules *capture.Rules, t *nftables.Table) []capture.Chain {
	if t.Family == nftables.TableFamilyIPv6 {
		return rules.IPv6
	}
	return rules.IPv4
}

// program sends all in one batch, which the kernel takes whole or not at all.
func program(rules *capture.Rules, ipv6 bool) error {
	conn, err := nftables.New()
	if err != nil {
		return explain(err)
	}
	for _, t := range tables(ipv6) {
		replace(conn, t)
		addChains(conn, t, chainsOf(rules, t))
	}
	if err := conn.Flush(); err != nil {
		return explain(err)
	}
	for _, t := range tables(ipv6) {
		if err := verify(conn, t, chainsOf(rules, t)); err != nil {
			return fmt.Errorf("the rules that the kernel has are not those that it was given: %w", err)
		}
	}
	if ipv6 {
		return ownSource()
	}
	return nil
}

// replace makes the table empty, whether it was there or not: only what exists can be deleted.
func replace(conn *nftables.Conn, t *nftables.Table) {
	conn.AddTable(t)
	conn.DelTable(t)
	conn.AddTable(t)
}

// Remove takes all rules away, and the address that the proxy was given; that there are
// none is no error.
func Remove() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("capture: %w", explain(err))
	}
	ipv6 := hasIPv6()
	for _, t := range tables(ipv6) {
		conn.AddTable(t)
		conn.DelTable(t)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("capture: %w", explain(err))
	}
	if ipv6 {
		if err := disownSource(); err != nil {
			return fmt.Errorf("capture: %w", err)
		}
	}
	return nil
}

func addChains(conn *nftables.Conn, t *nftables.Table, chains []capture.Chain) {
	for _, c := range chains { // all before the first rule: rules jump to chains further down
		conn.AddChain(chain(t, c.Name))
	}
	for _, c := range chains {
		for i := range c.Rules {
			conn.AddRule(&nftables.Rule{Table: t, Chain: chain(t, c.Name), Exprs: expressions(&c.Rules[i], t.Family)})
		}
	}
}

// chain hooks the two that are netfilter's own to where iptables has them; the others
// are only jumped to.
func chain(t *nftables.Table, name string) *nftables.Chain {
	c := &nftables.Chain{Name: name, Table: t}
	switch name {
	case capture.Prerouting:
		c.Hooknum = nftables.ChainHookPrerouting
	case capture.Output:
		c.Hooknum = nftables.ChainHookOutput
	default:
		return c
	}
	accept := nftables.ChainPolicyAccept
	c.Type, c.Priority, c.Policy = nftables.ChainTypeNAT, nftables.ChainPriorityNATDest, &accept
	return c
}

// verify compares what the kernel has with what it should have.
func verify(conn *nftables.Conn, t *nftables.Table, chains []capture.Chain) error {
	for _, c := range chains {
		hooked, err := conn.ListChain(t, c.Name)
		if err != nil {
			return fmt.Errorf("chain %s: %w", c.Name, err)
		}
		if want := chain(t, c.Name); want.Hooknum != nil && (hooked.Hooknum == nil || *hooked.Hooknum != *want.Hooknum || hooked.Type != want.Type) {
			return fmt.Errorf("chain %s is not at its hook", c.Name)
		}
		found, err := conn.GetRules(t, hooked)
		if err != nil {
			return fmt.Errorf("chain %s: %w", c.Name, err)
		}
		if len(found) != len(c.Rules) {
			return fmt.Errorf("chain %s has %d rules, not %d", c.Name, len(found), len(c.Rules))
		}
		for i := range found {
			if !reflect.DeepEqual(found[i].Exprs, expressions(&c.Rules[i], t.Family)) {
				return fmt.Errorf("chain %s: rule %d differs", c.Name, i+1)
			}
		}
	}
	return nil
}

// explain says what an error of the kernel means to somebody who reads the log of an
// init container.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("the container may not change the pod's network: it needs the capability NET_ADMIN (%w)", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT),
		errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EINVAL) && strings.Contains(err.Error(), "netlink"):
		return fmt.Errorf("%w (%w)", errMissing, err)
	}
	return fmt.Errorf("nftables: %w", err)
}
