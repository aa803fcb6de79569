package simnet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/sim/trace"
)

func TestTraceOfConnections(t *testing.T) {
	events := run(t, func(ctx context.Context, n *fixture, _ *trace.Recorder) error {
		c, s := n.pair(t)
		c.Close()
		time.Sleep(time.Second)
		s.Close()
		if _, err := n.a.Network(0, 0).Dial(ctx, "10.0.0.3:80"); err == nil {
			t.Error("nobody listens, but the dial succeeded")
		}
		return nil
	})
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprintf("%s %s %s", e.Kind, e.Who, e.Text))
	}
	want := []string{
		"conn-open a>b#1 10.0.0.1:32768 > 10.0.0.2:80",
		"conn-close a>b#1 dialler fin",
		"conn-close a>b#1 listener fin",
		"conn-fail a>c#1 10.0.0.1:32768 > 10.0.0.3:80: connect: connection refused",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Draws belong to a link and its segments: what others do changes none of them.
func TestOthersDoNotReshuffle(t *testing.T) {
	times := func(crowd int) (arrivals []time.Duration) {
		o := Options{Latency: time.Millisecond, Jitter: time.Millisecond, Loss: 0.1}
		bubble(t, o, func(f *fixture) {
			l := listen(t, f.b, ":81")
			c, s := f.pair(t)
			for range crowd {
				other := dial(t, f.c, "10.0.0.2:81")
				accept(t, l)
				go exchangeBytes(other, 100)
			}
			b := make([]byte, 1)
			for range 50 {
				start := time.Now()
				c.Write(b)
				if _, err := s.Read(b); err != nil {
					t.Error(err)
				}
				arrivals = append(arrivals, time.Since(start))
				time.Sleep(time.Second)
			}
		})
		return arrivals
	}
	alone, crowded := times(0), times(5)
	for i := range alone {
		// One event per instant may move a delivery by a nanosecond each.
		if d := alone[i] - crowded[i]; d < -10 || d > 10 {
			t.Errorf("segment %d took %v alone and %v in a crowd", i, alone[i], crowded[i])
		}
	}
	if slices.Min(alone) == slices.Max(alone) {
		t.Error("nothing was drawn")
	}
}

func exchangeBytes(c interface{ Write([]byte) (int, error) }, n int) {
	for range n {
		if _, err := c.Write([]byte{1}); err != nil {
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
}
