package load

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Stage is a part of a load whose rate goes from one value to another, evenly: the same
// twice is a step, 0 twice a pause.
type Stage struct {
	From, To float64 // calls per second
	Duration time.Duration
}

// The ways in which calls arrive.
const (
	Uniform = "uniform" // at even distances: the default
	Poisson = "poisson" // as from many users who know nothing of each other
)

// Shape is how the rate of a load goes over time.
type Shape struct {
	Stages []Stage
	// Jitter moves each call by up to this part of the distance to its neighbours, from 0 to 0.5.
	Jitter  float64
	Arrival string // Uniform or ""; Poisson, which has no use for a jitter
}

// check tells what is wrong with a shape.
func (s Shape) check() error {
	calls := 0.0
	for _, g := range s.Stages {
		if g.Duration <= 0 || g.From < 0 || g.To < 0 {
			return errors.New("load: a stage needs a duration, and no negative rate")
		}
		calls += g.calls()
	}
	switch {
	case calls <= 0:
		return errors.New("load: the stages make no call")
	case calls > maxScheduled:
		return fmt.Errorf("load: the stages make %.3g calls, more than %d", calls, maxScheduled)
	case s.Jitter < 0 || s.Jitter > 0.5:
		return errors.New("load: a jitter is from 0 to 0.5")
	case s.Arrival == Poisson && s.Jitter > 0:
		return errors.New("load: calls that arrive by chance have no jitter")
	}
	return nil
}

// maxScheduled bounds the calls of a shape: each is a record.
const maxScheduled = 100_000_000

// calls are how many a stage makes.
func (g Stage) calls() float64 { return (g.From + g.To) / 2 * g.Duration.Seconds() }

// after is when a stage has made so many calls.
func (g Stage) after(calls float64) time.Duration {
	if calls <= 0 {
		return 0
	}
	slope := (g.To - g.From) / g.Duration.Seconds()
	root := math.Sqrt(max(g.From*g.From+2*slope*calls, 0))
	return min(time.Duration(2*calls/(g.From+root)*float64(time.Second)), g.Duration)
}

// schedule is when each call is meant to start, from the load's beginning, no two at one
// instant. The rates say how many calls there have been at any time; a call's place
// in that sum is its number, moved by the jitter, or a walk of exponential steps.
func (s Shape) schedule(draws seed.Seed) []time.Duration {
	total := 0.0
	for _, g := range s.Stages {
		total += g.calls()
	}
	var times []time.Duration
	stage, begun, before := 0, time.Duration(0), 0.0 // what has passed before the stage
	at := 0.0                                        // of a Poisson process
	for k := 0; ; k++ {
		place := float64(k)
		switch {
		case s.Arrival == Poisson:
			at -= math.Log(1 - unit(draws, k))
			if place = at; place >= total {
				return times
			}
		case k > 0 && k >= int(total+0.5):
			return times
		case s.Jitter > 0:
			place = max(place+s.Jitter*(2*unit(draws, k)-1), 0)
		}
		for stage+1 < len(s.Stages) && place >= before+s.Stages[stage].calls() {
			before += s.Stages[stage].calls()
			begun += s.Stages[stage].Duration
			stage++
		}
		t := begun + s.Stages[stage].after(place-before)
		if n := len(times); n > 0 {
			t = max(t, times[n-1]+time.Nanosecond)
		}
		times = append(times, t)
	}
}

// unit is the draw in [0, 1) of the k-th call.
func unit(draws seed.Seed, k int) float64 { return draws.Float64(strconv.Itoa(k)) }

// String is the shape for people and for fortio's results: "100..500 in 30s, 500 for 1m0s".
func (s Shape) String() string {
	var parts []string
	for _, g := range s.Stages {
		if g.From == g.To {
			parts = append(parts, fmt.Sprintf("%g for %v", g.From, g.Duration))
		} else {
			parts = append(parts, fmt.Sprintf("%g..%g in %v", g.From, g.To, g.Duration))
		}
	}
	return strings.Join(parts, ", ")
}
