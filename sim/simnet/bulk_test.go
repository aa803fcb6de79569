package simnet

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// bulk is some equal writes, without a pause, and a reader.
type bulk struct {
	writes, size int
	piece        int           // bytes that a read asks for
	pause        time.Duration // before each read
}

func (b bulk) String() string {
	return fmt.Sprintf("%dx%d by %d every %v", b.writes, b.size, b.piece, b.pause)
}

// bytes are what a bulk sends: no two pieces are alike.
func (b bulk) bytes() []byte {
	p := make([]byte, b.writes*b.size)
	seed.New(1).Bytes("bulk", p)
	return p
}

// send writes a bulk and ends the stream.
func (b bulk) send(c net.Conn, data []byte) error {
	for p := range slices.Chunk(data, b.size) {
		if n, err := c.Write(p); n != len(p) || err != nil {
			return fmt.Errorf("wrote %d of %d: %w", n, len(p), err)
		}
	}
	return c.(*Conn).CloseWrite()
}

// take reads to the end, or to the error that is not io.EOF.
func (b bulk) take(c net.Conn) (n int, sum [sha256.Size]byte, err error) {
	h, p := sha256.New(), make([]byte, b.piece)
	for {
		time.Sleep(b.pause)
		var k int
		k, err = c.Read(p)
		h.Write(p[:k])
		n += k
		if err != nil {
			break
		}
	}
	if err == io.EOF {
		err = nil
	}
	return n, [sha256.Size]byte(h.Sum(nil)), err
}

// Whatever the sizes of writes and reads, all bytes arrive, both ways at once.
func TestBulk(t *testing.T) {
	bulks := []bulk{
		{writes: 3, size: 32 << 10, piece: 4 << 10},
		{writes: 3, size: 40 << 10, piece: 4 << 10},
		{writes: 10, size: 100 << 10, piece: 4 << 10},
		{writes: 10, size: 100 << 10, piece: 1 << 20},
		{writes: 300_000, size: 1, piece: 4 << 10},
		{writes: 1, size: 2 << 20, piece: 1000, pause: time.Millisecond},
		{writes: 40, size: 32 << 10, piece: 4 << 10, pause: time.Millisecond},
	}
	line := []Link{{Bandwidth: 10 << 20}}
	networks := map[string]Options{
		"plain":     {},
		"jitter":    {Latency: time.Millisecond, Jitter: time.Millisecond},
		"bandwidth": {Latency: time.Millisecond, Links: line},
		"all":       {Latency: time.Millisecond, Jitter: time.Millisecond, Loss: 0.1, Links: line},
	}
	for name, o := range networks {
		for _, b := range bulks {
			t.Run(name+"/"+b.String(), func(t *testing.T) {
				bubble(t, o, func(f *fixture) { b.exchange(t, f) })
			})
		}
	}
}

func (b bulk) exchange(t *testing.T, f *fixture) {
	data := b.bytes()
	want := sha256.Sum256(data)
	c, s := f.pair(t)
	ends := []net.Conn{c, s}
	done := make(chan error)
	for _, end := range ends {
		end.SetDeadline(time.Now().Add(time.Hour)) // an error, not a deadlock
		go func() { done <- b.send(end, data) }()
		go func() {
			n, sum, err := b.take(end)
			if err == nil && sum != want {
				err = fmt.Errorf("other bytes: %d, sent %d", n, len(data))
			} else if err != nil {
				err = fmt.Errorf("after %d bytes of %d: %w", n, len(data), err)
			}
			done <- err
		}()
	}
	for range 2 * len(ends) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	c.Close()
	s.Close()
}

// A reset goes behind what was written before it, in however many segments.
func TestBulkBeforeReset(t *testing.T) {
	for _, o := range []Options{{}, {Latency: time.Millisecond, Links: []Link{{Bandwidth: 1 << 20}}}} {
		bubble(t, o, func(f *fixture) {
			c, s := f.pair(t)
			c.Write([]byte("nobody reads this"))
			time.Sleep(time.Second)
			b := bulk{writes: 5, size: 20 << 10, piece: 4 << 10}
			data := b.bytes()
			for p := range slices.Chunk(data, b.size) {
				s.Write(p)
			}
			s.Close()
			n, sum, err := b.take(c)
			if sum != sha256.Sum256(data) || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read %d bytes of %d, %v", n, len(data), err)
			}
		})
	}
}

// How bytes are cut into writes makes no difference to when they arrive.
func TestCutsMakeNoDifference(t *testing.T) {
	const total = 1 << 20
	o := Options{Latency: time.Millisecond, Jitter: time.Millisecond, Loss: 0.1, Links: []Link{{Bandwidth: 10 << 20}}}
	arrivals := func(size int) (got []string) {
		bubble(t, o, func(f *fixture) {
			c, s := f.pair(t)
			start := time.Now()
			go func() {
				p := make([]byte, size)
				for left := total; left > 0; left -= size {
					c.Write(p[:min(size, left)])
				}
				c.Close()
			}()
			p := make([]byte, 4<<10)
			for n := 0; ; {
				k, err := s.Read(p)
				n += k
				got = append(got, fmt.Sprint(n, " at ", time.Since(start)))
				if err != nil {
					return
				}
			}
		})
		return got
	}
	want := arrivals(total)
	for _, size := range []int{100, 1000, 32 << 10, 40 << 10, 100_000} {
		got := arrivals(size)
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("writes of %d: read %d has %s, in one write %s", size, i, got[i], want[i])
				break
			}
		}
		if len(got) != len(want) {
			t.Errorf("writes of %d: %d reads, in one write %d", size, len(got), len(want))
		}
	}
}
