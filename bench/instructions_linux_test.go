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
	before, began := c.read(0), time.Now()
	for time.Duration(c.read(0)-before) < time.Millisecond {
		if time.Since(began) > time.Minute {
			t.Fatalf("%v of processor time counted in a minute of work", time.Duration(c.read(0)-before))
		}
	}
	if why := withoutInstructions(); why == "" && countInstructions(self).read(0) == 0 {
		t.Error("instructions can be counted, and are not")
	}
}
