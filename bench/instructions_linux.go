package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// event is what the kernel is asked to count (perf_event_open(2)).
type event struct {
	kind   uint32
	config uint64
}

// instructions are those that the processor retires.
var instructions = event{unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_INSTRUCTIONS}

// open counts for a thread and those that it will start, in user mode.
func (e event) open(thread int) (int, error) {
	attr := &unix.PerfEventAttr{Type: e.kind, Config: e.config, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Bits: unix.PerfBitInherit | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv}
	return unix.PerfEventOpen(attr, thread, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
}

// counters of some processes' events, a list of files for each.
type counters [][]int

// countInstructions begins to count; processes whose instructions nobody counts have no
// files. New threads are counted with the one that starts them.
func countInstructions(sidecars []proxy) counters { return count(instructions, sidecars) }

func count(e event, sidecars []proxy) counters {
	all := make(counters, len(sidecars))
	for i, s := range sidecars {
		for _, thread := range threads(s.pid) {
			file, err := e.open(thread)
			if err == unix.ESRCH {
				continue // it has just ended
			}
			if err != nil {
				all.close()
				return make(counters, len(sidecars))
			}
			all[i] = append(all[i], file)
		}
	}
	return all
}

// read is what a process has counted so far; 0 where nothing is counted.
func (c counters) read(i int) int64 {
	var sum int64
	var value [8]byte
	for _, file := range c[i] {
		if n, err := unix.Read(file, value[:]); err != nil || n != len(value) {
			return 0
		}
		sum += int64(binary.NativeEndian.Uint64(value[:]))
	}
	return sum
}

func (c counters) close() {
	for _, files := range c {
		for _, file := range files {
			_ = unix.Close(file) // it was only read
		}
	}
}

// withoutInstructions says why instructions are not counted here; "" where they are.
func withoutInstructions() string {
	file, err := instructions.open(os.Getpid())
	switch err {
	case nil:
		_ = unix.Close(file) // it was only opened
		return ""
	case unix.ENOENT, unix.ENODEV, unix.EOPNOTSUPP:
		return "instructions are not counted: this machine's processor does not let them be, as most virtual ones do not"
	case unix.EACCES, unix.EPERM:
		return "instructions are not counted: the system does not allow it (/proc/sys/kernel/perf_event_paranoid is " + line("/proc/sys/kernel/perf_event_paranoid") + ", 2 would do)"
	}
	return fmt.Sprintf("instructions are not counted: %v", err)
}
