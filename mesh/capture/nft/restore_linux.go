package nft

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

// restore programs the rules by iptables' own tools, for kernels without nftables. The
// pod's nat table is the mesh's alone: it is replaced whole.
func restore(rules *capture.Rules, ipv6 bool) error {
	four, six, _ := strings.Cut(rules.String(), "# IPv6\n")
	if err := restoreFamily("iptables", four); err != nil {
		return err
	}
	if !ipv6 {
		return nil
	}
	if err := restoreFamily("ip6tables", six); err != nil {
		return err
	}
	return ownSource()
}

func restoreFamily(tool, text string) error {
	path, err := exec.LookPath(tool + "-restore")
	if err != nil {
		return fmt.Errorf("there is no %s-restore in this image: load the kernel's nf_tables and nft_chain_nat modules on the node, or use an image that has iptables", tool)
	}
	cmd := exec.Command(path)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s-restore: %w: %s", tool, err, strings.TrimSpace(string(out)))
	}
	// What was written is listed again: each rule of ours has to be there.
	saved, err := exec.Command(strings.TrimSuffix(path, "restore")+"save", "-t", "nat").Output()
	if err != nil {
		return fmt.Errorf("%s-save: %w", tool, err)
	}
	if strings.Count(string(saved), "\n-A ") < strings.Count(text, "\n-A ") {
		return errors.New(tool + "-save lists fewer rules than were programmed")
	}
	return nil
}
