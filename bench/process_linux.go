package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every Linux.
const clockTick = 10 * time.Millisecond

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
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// schedstat has nanoseconds, but per thread; stat has all threads', also of those that ended.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("/proc/%d/stat is cut short", pid)
	}
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * clockTick
	}
	u.cpu = max(u.cpu, scheduled(pid))
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

// scheduled is the time that the threads which are alive have had, to the nanosecond.
func scheduled(pid int) time.Duration {
	var sum int64
	for _, thread := range threads(pid) {
		ran, _, _ := strings.Cut(line(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, thread)), " ")
		n, _ := strconv.ParseInt(ran, 10, 64) // 0 where the kernel keeps none
		sum += n
	}
	return time.Duration(sum)
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
