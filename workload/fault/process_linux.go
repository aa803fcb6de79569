package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// processesOf are the processes whose control group is one of the containers', as
// runtimes name groups by the container's id.
func processesOf(containers []string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		groups, err := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return nil, err
		}
		for _, id := range containers {
			if strings.Contains(string(groups), id) {
				found = append(found, pid)
				break
			}
		}
	}
	return found, nil
}

func signal(action string, processes []int) error {
	number := map[string]syscall.Signal{Pause: syscall.SIGSTOP, Resume: syscall.SIGCONT, Kill: syscall.SIGKILL}[action]
	var errs []error
	for _, pid := range processes {
		if err := syscall.Kill(pid, number); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("%s process %d: %w", action, pid, err))
		}
	}
	return errors.Join(errs...)
}
