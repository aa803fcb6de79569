package seed

import (
	"math"
	"testing"
	"time"
)

func TestDrawsDependOnSeedAndKeyOnly(t *testing.T) {
	a, b := New(1).Sub("proxy/a"), New(1).Sub("proxy/a")
	if a.Uint64("k") != b.Uint64("k") || a.Rand().Uint64() != b.Rand().Uint64() {
		t.Fatal("one seed and one label gave two answers")
	}
	if New(1).Uint64("k") == New(2).Uint64("k") || a.Uint64("k") == a.Uint64("l") {
		t.Fatal("different seeds or keys gave one answer")
	}
	if New(7).Duration("k", 0) != 0 {
		t.Fatal("a draw below nothing is not nothing")
	}
}

func TestKeyedDrawsAreUniform(t *testing.T) {
	const n = 100_000
	s, sum := New(3), 0.0
	for i := range uint64(n) {
		sum += unit(s.At(i))
		if d := s.Duration(string(rune(i)), time.Second); d < 0 || d >= time.Second {
			t.Fatalf("draw %v is outside [0, 1s)", d)
		}
	}
	if mean := sum / n; math.Abs(mean-0.5) > 0.01 {
		t.Fatalf("mean of %d draws is %v, want about 0.5", n, mean)
	}
}
