package simnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	simbubble "github.com/windtunnel-mesh/windtunnel/sim/bubble"
)

// BenchmarkPingPong measures deliveries of segments in virtual time, on one processor.
func BenchmarkPingPong(b *testing.B) {
	for _, conns := range []int{1, 50} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) {
			start := time.Now()
			var delivered uint64
			err := simbubble.Run(context.Background(), simbubble.Options{}, func(context.Context) (err error) {
				delivered, err = pingPong(b, conns, b.N)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(delivered)/time.Since(start).Seconds(), "segments/s")
		})
	}
}

// pingPong exchanges n messages of 200 bytes both ways, shared by some connections.
func pingPong(b *testing.B, conns, n int) (uint64, error) {
	f := newFixture(b, Options{Latency: 100 * time.Microsecond, Jitter: 10 * time.Microsecond})
	defer f.Close()
	l := listen(b, f.b, ":80")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // it ends with the client
			}()
		}
	}()
	var wg sync.WaitGroup
	errs := make([]error, conns)
	for i := range conns {
		wg.Go(func() {
			c := dial(b, f.a, "10.0.0.2:80")
			defer c.Close()
			errs[i] = exchange(c, n/conns+1)
		})
	}
	wg.Wait()
	return f.Delivered(), errors.Join(errs...)
}

func exchange(c net.Conn, n int) error {
	message := make([]byte, 200)
	for range n {
		if _, err := c.Write(message); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, message); err != nil {
			return err
		}
	}
	return nil
}
