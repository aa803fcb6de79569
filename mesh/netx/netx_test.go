package netx

import (
	"context"
	"net/netip"
	"strconv"
	"testing"
)

// The wildcard of each family has a socket of its own, so that both fit on one port. Where
// this machine has no IPv6, only the first can be asked for.
func TestWildcardsAreOfOneFamily(t *testing.T) {
	ctx := context.Background()
	four, err := System{}.Listen(ctx, "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer four.Close()
	port := AddrPort(four.Addr()).Port()
	if a := AddrPort(four.Addr()).Addr(); a != netip.IPv4Unspecified() {
		t.Errorf("0.0.0.0 is bound to %v", a)
	}
	if probe, err := (System{}).Listen(ctx, "[::1]:0"); err != nil {
		t.Logf("IPv6 cannot be tried: %v", err)
		return
	} else {
		probe.Close()
	}
	six, err := System{}.Listen(ctx, "[::]:"+strconv.Itoa(int(port)))
	if err != nil {
		t.Fatalf("beside 0.0.0.0: %v", err)
	}
	six.Close()
}
