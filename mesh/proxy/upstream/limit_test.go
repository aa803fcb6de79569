package upstream

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimit moves the deadline of a connection on which somebody reads.
func TestLimit(t *testing.T) {
	const never = time.Hour
	tests := map[string]struct {
		sets []time.Duration // one each 10 ms; 0: none
		want time.Duration
	}{
		"one":                    {[]time.Duration{50 * time.Millisecond}, 50 * time.Millisecond},
		"earlier":                {[]time.Duration{time.Second, 50 * time.Millisecond}, 60 * time.Millisecond},
		"later":                  {[]time.Duration{50 * time.Millisecond, time.Second}, 1010 * time.Millisecond},
		"taken back":             {[]time.Duration{50 * time.Millisecond, 0}, never},
		"taken back, and one":    {[]time.Duration{50 * time.Millisecond, 0, 20 * time.Millisecond}, 40 * time.Millisecond},
		"over":                   {[]time.Duration{time.Second, -time.Second}, 10 * time.Millisecond},
		"far, none, then nearer": {[]time.Duration{time.Minute, 0, time.Second}, 1020 * time.Millisecond},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				defer ours.Close()
				l := &limit{conn: ours}
				defer l.stop()
				begin, over := time.Now(), make(chan error, 1)
				go func() {
					_, err := ours.Read(make([]byte, 1))
					over <- err
				}()
				for i, d := range test.sets {
					if i > 0 {
						time.Sleep(10 * time.Millisecond)
					}
					at := time.Time{}
					if d != 0 {
						at = time.Now().Add(d)
					}
					if err := l.set(at); err != nil {
						t.Fatal(err)
					}
				}
				select {
				case err := <-over:
					if took := time.Since(begin); took != test.want || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%v after %v, want %v", err, took, test.want)
					}
				case <-time.After(never):
					if test.want != never {
						t.Error("the deadline did not come")
					}
				}
			})
		})
	}
}

// TestLimitAgain uses a connection whose deadline has come.
func TestLimitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		defer ours.Close()
		l := &limit{conn: ours}
		defer l.stop()
		_ = l.set(past)
		if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = l.set(time.Time{})
		go func() { _, _ = theirs.Write([]byte("x")) }()
		if n, err := ours.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}
