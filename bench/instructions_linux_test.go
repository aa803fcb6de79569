package bench

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An event that every kernel counts goes the way of instructions, which not every
// processor lets be counted.
func TestEventsAreCounted(t *testing.T) {
	clock := event{unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_TASK_CLOCK}
	self := []proxy{{pid: os.Getpid()}}
	file, err := clock.open(os.Getpid())
	if err != nil {
		if none := count(clock, self); none.read(0) != 0 {
			t.Errorf("counted, though the system does not allow it (%v)", err)
		}
		return
	}
	_ = unix.Close(file) // it was only opened
	c := count(clock, self)
	defer c.close()
	before := c.read(0)
	for began := time.Now(); time.Since(began) < 20*time.Millisecond; {
	}
	if got := time.Duration(c.read(0) - before); got < time.Millisecond {
		t.Errorf("%v of processor time counted while 20 ms went by", got)
	}
	if why := withoutInstructions(); why == "" && countInstructions(self).read(0) == 0 {
		t.Error("instructions can be counted, and are not")
	}
}
