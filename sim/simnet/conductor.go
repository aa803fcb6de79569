package simnet

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// event is something that happens to a stream at an instant.
type event struct {
	at    int64  // nanoseconds since the network began
	seq   uint64 // of the stream
	on    *stream
	n     int // bytes of payload
	flags flags
}

// before orders events by instant, link and sequence.
func (e *event) before(f *event) bool {
	if e.at != f.at {
		return e.at < f.at
	}
	if e.on != f.on {
		return e.on.before(f.on)
	}
	return e.seq < f.seq
}

// conductor delivers events, one goroutine for all. In a bubble its timer fires
// only when every other goroutine is blocked for good, so that a sleep to a later
// instant is a synctest.Wait in itself; and as it delivers no two events at one
// instant, whatever an event set off is over when the next one comes.
type conductor struct {
	begun     time.Time
	timer     *time.Timer
	ended     chan struct{}
	delivered atomic.Uint64

	mu     sync.Mutex
	heap   []event
	target int64 // what the timer is set to; awake while the conductor runs, idle where there is nothing to do
	stop   bool
}

const (
	awake = math.MinInt64
	idle  = math.MaxInt64
)

func (c *conductor) begin() {
	c.begun = time.Now()
	c.ended = make(chan struct{})
	c.target = idle
	c.timer = time.NewTimer(time.Hour)
	c.timer.Stop()
	go c.run()
}

// end stops the conductor; what is not yet delivered is dropped.
func (c *conductor) end() {
	c.mu.Lock()
	c.stop, c.heap, c.target = true, nil, awake
	c.timer.Reset(0)
	c.mu.Unlock()
	<-c.ended
}

// now is the time since the network began, in nanoseconds.
func (c *conductor) now() int64 { return int64(time.Since(c.begun)) }

// push schedules an event. Where it is earlier than what the conductor sleeps for,
// the timer is set anew; the conductor itself need not be woken for that.
func (c *conductor) push(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop {
		return
	}
	c.up(e)
	if e.at < c.target {
		c.target = e.at
		c.timer.Reset(time.Duration(e.at - c.now()))
	}
}

func (c *conductor) run() {
	defer close(c.ended)
	last := int64(-1)
	for {
		<-c.timer.C
		for {
			e, ok := c.next(&last)
			if !ok {
				break
			}
			c.delivered.Add(1)
			e.on.deliver(e)
		}
		if c.stopped() {
			return
		}
	}
}

// next pops the head if it is due, at least 1 ns after the one before; otherwise
// it sets the timer.
func (c *conductor) next(last *int64) (event, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.heap) == 0 {
		c.target = idle
		return event{}, false
	}
	now, due := c.now(), max(c.heap[0].at, *last+1)
	if due > now {
		c.target = due
		c.timer.Reset(time.Duration(due - now))
		return event{}, false
	}
	*last, c.target = now, awake
	return c.down(), true
}

func (c *conductor) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stop
}

// up adds an event to the binary heap.
func (c *conductor) up(e event) {
	c.heap = append(c.heap, e)
	h, i := c.heap, len(c.heap)-1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
}

// down takes the first event off the heap.
func (c *conductor) down() event {
	h := c.heap
	first, n := h[0], len(h)-1
	e := h[n]
	h[n] = event{}
	c.heap = h[:n]
	if n == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && h[child+1].before(&h[child]) {
			child++
		}
		if !h[child].before(&e) {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = e
	return first
}
