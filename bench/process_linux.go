package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what a process has used so far.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes
	private  int64 // bytes of it that are no file's: heap and stacks
	switches int64
	threads  int64
	// instructions in user mode since they are counted; 0: they are not
	instructions int64
	own          ownUsage
}

// read asks the operating system about a process.
func read(pid int) (usage, error) {
	var u usage
	var err error
	if u.cpu, err = processorTime(pid); err != nil {
		return u, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for l := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(l), ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // only numbers are asked for
		switch key {
		case "VmRSS":
			u.resident = n << 10
		case "RssAnon":
			u.private = n << 10
		case "Threads":
			u.threads = n
		}
	}
	u.switches = threadSwitches(pid)
	return u, nil
}

// processorTime is what all threads of a process have had, also those that ended, to the
// nanosecond: its processor clock (clock_getcpuclockid(3)).
func processorTime(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED, of the process
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &at); err != nil {
		return 0, fmt.Errorf("the processor clock of process %d: %w", pid, err)
	}
	return time.Duration(at.Nano()), nil
}

func threadSwitches(pid int) int64 {
	var sum int64
	for _, thread := range threads(pid) {
		path := fmt.Sprintf("/proc/%d/task/%d/status", pid, thread)
		for _, name := range []string{"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"} {
			n, _ := strconv.ParseInt(field(path, name), 10, 64) // 0 where the kernel keeps none
			sum += n
		}
	}
	return sum
}

func threads(pid int) []int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var ids []int
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// pin keeps all threads of a process on some processors.
func pin(pid int, processors ...int) error {
	var set unix.CPUSet
	for _, p := range processors {
		set.Set(p)
	}
	for _, thread := range threads(pid) {
		if err := unix.SchedSetaffinity(thread, &set); err != nil && err != unix.ESRCH {
			return fmt.Errorf("pin process %d: %w", pid, err)
		}
	}
	return nil
}

// peakMemory is the most resident memory that a process has had, in bytes.
func peakMemory(pid int) (int64, error) {
	kib, err := strconv.ParseInt(strings.TrimSuffix(field(fmt.Sprintf("/proc/%d/status", pid), "VmHWM"), " kB"), 10, 64)
	return kib << 10, err
}
