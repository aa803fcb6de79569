package load_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// whole is a connection that can end both ways only.
type whole struct{ net.Conn }

// A call of TCP ends its side with the body, which this connection cannot, unless it is
// kept open.
func TestConnectionIsKeptOpen(t *testing.T) {
	for _, open := range []bool{false, true} {
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				request := make([]byte, 5)
				if _, err := io.ReadFull(server, request); err == nil && open {
					_, _ = server.Write(append(request, '!'))
				}
			}()
			return whole{client}, nil
		}
		found, err := load.Send(t.Context(), load.SendOptions{Count: 1, Target: load.Target{Dial: dial, Protocol: "tcp", URL: "tcp://server:9000",
			Body: []byte("hello"), KeepOpen: open, Seed: seed.New(1)}})
		if err != nil || len(found.Records) != 1 {
			t.Fatal(found, err)
		}
		if r := found.Records[0]; (r.Error == "") != open || open && r.Bytes != 6 {
			t.Errorf("kept open %t: %+v", open, r)
		}
	}
}
